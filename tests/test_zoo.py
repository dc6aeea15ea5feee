"""The comparison of the presets as a command. One slow test trains and measures a preset."""

import ast
import graphlib
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from zoo_results import options_in

from benchmarks.zoo import schedule
from benchmarks.zoo.__main__ import compare
from benchmarks.zoo.jobs.job import Job
from gan.errors import InputError, RunError


def imports(file):
    """The dotted names of what a module imports from the zoo."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("benchmarks"):
            yield from (node.module, *(f"{node.module}.{name.name}" for name in node.names))


def test_no_modules_import_each_other():
    files = sorted((ROOT / "benchmarks" / "zoo").rglob("*.py"))
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts): set(imports(file)) for file in files}
    assert "benchmarks.zoo.plans" in modules["benchmarks.zoo.schedule"]
    graphlib.TopologicalSorter(modules).prepare()  # raises where there is a circle


def test_a_stopped_comparison_goes_on(tmp_path, monkeypatch, capsys):
    done, broken = [], ["b"]

    def job(name, *needs):
        def work(_):
            if name in broken:
                raise RunError(f"{name} failed")
            done.append(name)
            return {"value": name}

        return Job("train", name, (), work, tuple(("train", need) for need in needs))

    monkeypatch.setattr(
        schedule, "planned_jobs", lambda *_: [job("a"), job("b", "a"), job("c", "missing"), job("d", "b")]
    )
    with pytest.raises(RunError, match="b failed"):
        compare(options_in(tmp_path))
    assert done == ["a"]
    assert json.loads((tmp_path / "results.json").read_text())["digits"]["train"]["a"]["value"] == "a"
    broken.clear()
    compare(options_in(tmp_path))
    assert done == ["a", "b", "d"]
    printed = capsys.readouterr().out
    assert "[1/3] train b" in printed
    assert "[2/3] train c: left out, because train missing is not done" in printed


def test_a_dry_run_lists_what_is_left_and_leaves_nothing(tmp_path, capsys):
    compare(options_in(tmp_path / "new", dry_run=True, jobs="train,check"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["10.5", "min", "train", "sample-0-10"],
        ["0.5", "min", "check", "sample"],
        ["11", "min", "for", "2", "jobs"],
    ]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"jobs": "speed,trian"}, "--jobs=trian: expected some of speed, reference, train"),
        ({"data": "faces"}, "--data=faces needs --train_data_pattern"),
        ({"train_data_pattern": "x"}, "go together"),
        ({"minutes_scale": 0.0}, "more than 0"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        options_in(tmp_path, **settings)


@pytest.mark.exhaustive
def test_a_preset_is_compared_by_one_command_and_not_twice(tmp_path):
    folder, readme = tmp_path / "zoo", tmp_path / "README.md"
    small = (f"--folder={folder}", "--data=digits", "--only=sample", "--minutes_scale=0.0005", "--num_generated=200")

    def run(*more):
        line = [sys.executable, "-m", "benchmarks.zoo", *small, *more]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run()
    assert "[7/7] check sample" in printed and printed.count(" images/s\n") == 3
    kept = json.loads((folder / "results.json").read_text())["digits"]
    assert kept["speed"]["sample/0"]["parameters"] == [114064, 100609]
    steps = kept["train"]["sample-0-10"]["steps"]
    assert (folder / "digits" / "sample-0" / "export" / f"step_{steps}" / "saved_model.pb").exists()
    kid, low, high = kept["measure"]["sample-0-10"]["training"]["kid"]
    assert low < kid < high and np.isfinite([low, high]).all()
    reals = kept["reference"]["reals"]["training"]["kid"][0]
    assert reals < kid  # after a few steps, real images are more like real ones
    assert kept["check"]["sample"]["failed"] == []
    assert "[1/" not in run()
    readme.write_text("<!-- zoo -->\n<!-- end -->\n")
    run("--table", f"--readme={readme}")
    assert "| sample | 114,064 / 100,609 |" in readme.read_text()
    assert (tmp_path / "pics" / "zoo" / "digits_sample.png").read_bytes().startswith(b"\x89PNG")
