"""What is beside the steps stays small against them; the margins are wide, since machines are shared."""

import numpy as np
import pytest

from benchmarks import memory, overhead, startup, turns
from benchmarks.__main__ import BenchOptions
from gan import storage, train
from gan.errors import RunError


@pytest.fixture
def options(tmp_path):
    return BenchOptions(folder=str(tmp_path), brief=True, turns=1)


@pytest.mark.slow
def test_what_is_beside_the_steps_takes_little_of_the_time(options):
    """A first round, in which the real images' features and the export's graphs are made as well."""
    folder = str(options.scratch / "run")
    measured = overhead.run_beside("default", options.faces(), folder, {})()
    shares = overhead.shares({name: [seconds] for name, seconds in measured.items()}, train.TrainOptions())
    assert shares[overhead.LOG] < 0.5  # the others are seconds, which a busy machine stretches
    assert measured[overhead.STOP] < 0.5 * (measured[overhead.SAVE] + measured[overhead.EXPORT])


def test_shares_follow_from_how_often_things_are_done():
    measured = {
        overhead.STEPS: [0.1, 0.2, 0.1],
        overhead.LOG: [0.101, 0.202, 0.1],
        overhead.LOOK: [0.6, 0.7, 0.6],
        overhead.SAVE: [0.7, 0.8, 0.7],
        overhead.EXPORT: [5.1, 5.2, 5.1],
    }
    options = train.TrainOptions(export_image_steps=50, save_secs=60.0, export_model_steps=1000)
    shares = overhead.shares(measured, options)
    assert shares == pytest.approx(
        {overhead.LOG: 0.01, overhead.LOOK: 0.5 / 5, overhead.SAVE: 0.6 / 60, overhead.EXPORT: 5.0 / 100}
    )


@pytest.mark.slow
def test_the_first_step_comes_soon_after_the_import(options):
    works = startup.contestants(options)
    measured = turns.take({name: works[name] for name in (startup.IMPORT, "default")}, 1, warm_up=0)
    assert turns.ratio(measured, "default", startup.IMPORT) < 6


def test_a_command_that_ends_too_soon_is_a_failed_benchmark():
    with pytest.raises(RunError, match="ended before its first step: print"):
        startup.seconds_until("never", "print('something else')")


@pytest.mark.slow
def test_memory_does_not_grow(options):
    work = memory.training("sample", options.faces(), 400, str(options.scratch / "run"), {"export_image_steps": 50})
    peak = work()
    samples = storage.read_json(options.scratch / "run" / "memory.json")
    steps, megabytes = np.array(samples["steps"]), np.array(samples["megabytes"])
    assert steps.tolist() == list(range(10, 401, 10))
    assert 0 < megabytes.max() <= peak
    assert memory.growth(steps[20:], megabytes[20:]) < 0.1


def test_growth_is_that_of_the_fitted_line():
    steps = np.arange(0, 1000, 10)
    assert memory.growth(steps, np.full(100, 700.0)) == pytest.approx(0, abs=1e-9)
    assert memory.slope(steps, 700 + 0.01 * steps) == pytest.approx(0.01)
    assert memory.growth(steps, 995.05 + 0.02 * (steps - 495)) == pytest.approx(0.02 * 990 / 995.05, rel=1e-6)
