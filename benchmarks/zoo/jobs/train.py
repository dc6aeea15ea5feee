"""Trains a preset up to a point."""

import functools

from benchmarks.zoo import commands, plans, presets
from benchmarks.zoo.jobs.job import Job

STARTUP_MINUTES = 0.5  # of a process; for the estimates alone


def job(point, points, minutes_scale):
    """Makes the job of training up to a point, from the one of `points` before it in the same run."""
    before = [other.minutes for other in points if other.run == point.run and other.minutes < point.minutes]
    minutes = STARTUP_MINUTES + (point.minutes - max(before, default=0)) * minutes_scale
    needs = tuple(("speed", name) for name in plans.speed_names(point.preset))
    return Job("train", point.name, (point.preset,), functools.partial(train_to, point=point), needs, minutes)


def train_to(comparison, point):
    """Trains up to a point; the preset that has a goal leaves exports on the way to it."""
    goal, steps = comparison.plan.goal, comparison.steps(point)
    on_the_way = goal and point.run == goal.last_point.run and point.minutes <= goal.until
    steps_between_exports = comparison.steps(goal.watched_points[0]) if on_the_way else steps
    run(comparison, point.preset, point.seed, comparison.folder / point.run, steps, steps_between_exports)
    return {"steps": steps, "images": steps * presets.settings_of(point.preset).batch_size}


def run(comparison, preset, seed, folder, steps, steps_between_exports):
    """Begins a run of `gan.train`, or goes on with it, until it has so many steps."""
    commands.run(
        "train",
        *(f"--preset={preset}", f"--seed={seed}", f"--train_dir={folder}", f"--max_steps={steps}"),
        *(f"--export_model_steps={steps_between_exports}", f"--num_epochs={10**9}", "--noexport_generated_images"),
        *comparison.data_flags(train=comparison.options.train_data_pattern),
    )
