"""Which jobs there are, in an order in which all can be done, those first that matter most."""

import itertools

from benchmarks.zoo import parts, plans, presets
from benchmarks.zoo.jobs import check, duel, goal, league, measure, speed, train


def jobs_left(comparison):
    """Returns the jobs that are left of those that are asked for."""
    field = presets.league_field(comparison.chosen, comparison.results)
    every = planned_jobs(comparison.plan, comparison.chosen, field, comparison.options)
    return [job for job in every if job.kind in comparison.options.kinds and not job.is_done(comparison.results)]


def planned_jobs(plan, chosen, field, options):
    """Returns all jobs of a data set, in order.

    Args:
      plan: a `plans.Plan`.
      chosen: presets to work on.
      field: presets of the league, the chosen ones among them.
      options: `ZooOptions`.
    """
    points = plans.planned_points(plan, chosen)
    every_first = [point for point in points if point == plans.first_point(point.preset)]
    first = [point for point in every_first if point.preset not in parts.names()]
    of_parts = [point for point in every_first if point not in first]
    longer = [point for point in points if not point.seed and point not in every_first]
    other_seeds = [point for point in points if point.seed]
    training = {point: train.job(point, points, options.minutes_scale) for point in points}

    turns = zip(*(speed.jobs(preset) for preset in chosen), strict=True)
    jobs = list(itertools.chain.from_iterable(turns))  # the presets in turn: the machine's speed may drift
    jobs.append(measure.reference_job())
    for point in first:
        jobs += [training[point], measure.job(point), check.job(point)]
    if len(field) > 2:  # of two, each G meets but one D, and nothing can be compared
        jobs.append(league.job(field))
    for point in longer:
        jobs.append(training[point])
        if point.minutes in plan.longer.get(point.preset, ()):
            jobs.append(measure.job(point))
    jobs += [duel.job(*terms, options.duel_rounds) for terms in plan.duels if set(terms[:2]) <= set(field)]
    if plan.goal and {plan.goal.preset, plan.goal.target} <= set(field):
        jobs.append(goal.job(plan.goal, plan.longer.get(plan.goal.preset, ())))
    for point in other_seeds + of_parts:
        jobs += [training[point], measure.job(point)]
    return jobs
