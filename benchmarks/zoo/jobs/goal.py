"""After how many minutes has a preset reached the KID of another?"""

import functools

from benchmarks.zoo import plans, results
from benchmarks.zoo.jobs.job import Job


def job(goal, longer):
    """Makes the job of a `plans.Goal`; `longer` are the minutes at which its preset is measured anyway."""
    later = [plans.Point(goal.preset, 0, minutes) for minutes in longer]
    needs = (("train", goal.last_point.name), *(("measure", point.name) for point in (goal.target_point, *later)))
    work = functools.partial(reach, goal=goal, later=later)
    name = f"{goal.preset}-{goal.target_point.name}"
    return Job("goal", name, (goal.preset, goal.target), work, needs, len(goal.watched_points))


def reach(comparison, goal, later):
    """Returns a preset's KIDs as time goes on, and the minutes of the first that is no higher than the target's."""

    def measured_kid(point):
        return results.kid_of(comparison.results.get("measure", point.name))

    def watched_kid(point):
        return comparison.judge.kid(comparison.judge.generate(comparison.submission(point)))

    kids = {point.minutes: watched_kid(point) for point in goal.watched_points}
    kids |= {point.minutes: measured_kid(point) for point in later}
    wanted = measured_kid(goal.target_point)
    reached = [minutes for minutes, kid in kids.items() if kid <= wanted]
    return {"kids": list(kids.items()), "minutes": min(reached, default=None), "target_minutes": goal.target_minutes}
