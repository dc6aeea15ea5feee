"""The table of where a training step's time goes."""

import subprocess
import sys

import pytest
from conftest import ROOT

from benchmarks import step_profile
from gan import storage
from gan.errors import RunError


def test_the_kinds_that_take_most_come_first():
    text = step_profile.in_markdown({"Add": [0.001, 0.003], "Conv2D": [0.02], "Mul": [0.001], "Sub": [0.005]}, 2, 2)
    assert text.splitlines()[2:] == [
        "| Conv2D | 0.5 | 10.0 | 66.7% |",
        "| Sub | 0.5 | 2.5 | 16.7% |",
        "| others | 1.5 | 2.5 | 16.7% |",
    ]


def test_a_folder_without_a_profile_is_refused(tmp_path):
    with pytest.raises(RunError, match="the profiler saw no operation"):
        step_profile.seconds_by_operation(storage.path(tmp_path))


@pytest.mark.slow
def test_the_command_shows_the_operations_of_a_step():
    line = [sys.executable, "-m", "benchmarks.step_profile", "--preset=sample", "--steps=2"]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("sample: ")
    assert "| MatMul | " in ended.stdout
