"""The table of speed, the turns that its numbers come from, and the floor."""

import json
import subprocess
import sys
import types

import pytest
from conftest import ROOT

from benchmarks import __main__ as command
from benchmarks import floor, table, training_speed, turns
from benchmarks.peers.recipe import Recipe
from gan import storage
from gan.errors import InputError, RunError

MIDDLE = Recipe(batch_size=64, features=32)


def row(**settings):
    return table.Row(**{"what": "a thing", "unit": "s", "measured": {"gan": [1.0, 3.0, 2.0]}, **settings})


def test_contestants_take_turns():
    order = []
    works = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    assert turns.take(works, turns=2, warm_up=1) == {"a": [3, 5], "b": [4, 6]}
    assert order == ["a", "b"] * 3


def test_a_ratio_is_the_median_of_the_turns_ratios():
    assert turns.ratio({"a": [1.0, 20.0, 300.0], "b": [1.0, 10.0, 100.0]}, "a", "b") == 2


def counting(first):
    numbers = iter(range(first, first + 10))
    return lambda: next(numbers)


def failing():
    raise ValueError("broken by intent")


def test_contestants_in_processes_keep_their_state():
    with turns.in_processes({"one": (counting, 1), "ten": (counting, 10)}) as works:
        assert turns.take(works, turns=2, warm_up=0) == {"one": [1, 2], "ten": [10, 11]}


def test_a_contestant_that_fails_is_named():
    with pytest.raises(RunError, match="the process of broken has ended"), turns.in_processes({"broken": (failing,)}):
        pass


def failing_at_work():
    return failing


def test_a_contestant_that_fails_at_its_work_is_named_at_each_turn():
    with turns.in_processes({"broken": (failing_at_work,), "whole": (counting, 1)}) as works:
        for _ in range(2):
            with pytest.raises(RunError, match="the process of broken has ended"):
                works["broken"]()
        assert works["whole"]() == 1


@pytest.mark.parametrize(
    ("settings", "wanted", "verdict"),
    [
        ({"number": 1.25, "at_least": 1.25}, "at least 1.25", table.REACHED),
        ({"number": 1.24, "at_least": 1.25}, "at least 1.25", table.MISSED),
        ({"number": 0.2, "at_most": 0.2}, "at most 0.2", table.REACHED),
        ({"number": 0.3, "at_most": 0.2}, "at most 0.2", table.MISSED),
        ({"number": 0.3, "at_least": 0.1, "at_most": 0.2}, "at least 0.1 and at most 0.2", table.MISSED),
        ({"number": 7.0}, "", table.SHOWN),
        ({"at_least": 1.0}, "at least 1", table.LEFT_OUT),
    ],
)
def test_verdicts(settings, wanted, verdict):
    assert (row(**settings).wanted, row(**settings).verdict) == (wanted, verdict)


def test_the_table_keeps_the_rows_of_other_benchmarks(tmp_path):
    folder = storage.path(tmp_path)
    table.add(folder, "first", [row(number=1.5, at_least=1, judged="a ratio", remark="by the way")], "", {"turns": 3})
    table.add(folder, "second", [], "no such luck", {"turns": 3})
    table.add(folder, "second", [row(what="another thing", measured={})], "", {"turns": 4})

    found = json.loads((tmp_path / table.FILE_FOR_PROGRAMS).read_text())
    assert list(found) == ["first", "second"]
    (kept,) = found["first"]["rows"]
    assert kept["quartiles"] == {"gan": [1.5, 2.0, 2.5]}
    assert (kept["number"], kept["verdict"]) == (1.5, table.REACHED)
    assert found["second"]["settings"] == {"turns": 4}

    text = (tmp_path / table.FILE_FOR_PEOPLE).read_text()
    assert "| a thing | gan 2 [1.5, 2.5] s | a ratio | 1.5 | at least 1 | reached |" in text
    assert "a thing: by the way" in text
    assert "| another thing | - |  | - | - | left out |" in text
    assert "no such luck" not in text


def test_the_readme_gets_what_is_judged(tmp_path, capsys):
    folder, readme = storage.path(tmp_path / "bench"), tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- end -->\nafter\n")
    options = command.BenchOptions(folder=str(folder), table=True, readme=str(readme))
    with pytest.raises(InputError, match=r"holds no bench\.json; give the folder of an earlier run"):
        command.measure(options)
    rows = [row(number=0.5, at_least=1, judged="a ratio"), row(what="another thing", number=2.0)]
    table.add(folder, "league_speed", rows, "", {"turns": 3})
    table.add(folder, "memory", [], "no such luck", {"turns": 3})
    (folder / "league_speed.png").write_text("a curve")
    command.measure(options)
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench -->\n| what |") and text.endswith("\n<!-- end -->\nafter\n")
    assert "| memory | - | - | - | failed: no such luck |\n| a thing | a ratio | 0.5 | at least 1 | missed |\n" in text
    assert "another thing" not in text and "`league_speed` 20" in text
    assert (tmp_path / "pics" / "league_speed.png").read_text() == "a curve"
    readme.write_text("without")
    command.measure(options)
    assert "has no markers <!-- bench --> and <!-- end -->: nothing was written" in capsys.readouterr().out


def test_one_benchmark_that_fails_does_not_take_the_others_with_it(tmp_path, monkeypatch, capsys):
    def broken(options):
        raise RunError("it broke")

    fakes = {"broken": broken, "whole": lambda options: [row(number=float(options.turns))]}
    for name, rows in fakes.items():
        monkeypatch.setitem(sys.modules, f"benchmarks.{name}", types.SimpleNamespace(rows=rows))
    monkeypatch.setattr(command, "BENCHMARKS", dict.fromkeys(fakes, "a fake"))

    with pytest.raises(RunError, match="failed: broken; the table says why"):
        command.measure(command.BenchOptions(folder=str(tmp_path), turns=2))
    found = json.loads((tmp_path / table.FILE_FOR_PROGRAMS).read_text())
    assert found["broken"]["failure"] == "it broke"
    assert found["whole"]["rows"][0]["number"] == 2
    assert "failed: it broke" in (tmp_path / table.FILE_FOR_PEOPLE).read_text()
    assert "a thing:  2 (no bound): shown" in capsys.readouterr().out
    assert not (tmp_path / "scratch").exists()


def test_faces_are_drawn_where_none_are_given(tmp_path):
    options = command.BenchOptions(folder=str(tmp_path))
    recipe = Recipe(batch_size=2, features=1)
    data = training_speed.faces(training_speed.own_options(recipe, options.faces()))
    assert data.shape == (50, 50, 1)
    assert len(data) == 2000
    assert command.BenchOptions(folder=str(tmp_path), train_data_pattern="mine*").faces() == "mine*"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"only": "training_speed,speeding"}, "--only=speeding: expected some of arena_speed"),
        ({"folder": "gs://bucket/bench"}, "--folder=gs://bucket/bench: expected a folder on this machine"),
        ({"turns": 0}, "--turns=0: expected at least 1"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(InputError, match=message):
        command.BenchOptions(**settings)


def test_a_mistyped_benchmark_ends_the_command_with_2():
    line = [sys.executable, "-m", "benchmarks", "--only=speeding"]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: --only=speeding: expected some of arena_speed")


def test_multiply_adds_of_a_step_follow_from_the_shapes():
    f = 4
    first, second, third, logit = 25 * 25 * 16 * f, 13 * 13 * 16 * f * 2 * f, 7 * 7 * 16 * 2 * f * 4 * f, 7 * 7 * 4 * f
    discriminator = first + second + third + logit
    dense = 100 * 7 * 7 * 4 * f
    generator = dense + third + second + first
    # D sees three batches and learns from two of them; its first layer passes gradients on to G alone.
    wanted = (3 + 2 + 3) * discriminator - 2 * first + 3 * generator - dense
    kernels = training_speed.step_kernels(Recipe(batch_size=2, features=f))
    assert floor.multiply_adds(kernels) == 2 * wanted
    assert {kernel.name: kernel.times for kernel in kernels}["Conv2D, 50x50x1 to 25x25x4"] == 3
    assert all(floor.seconds_alone(kernel) > 0 for kernel in kernels)


@pytest.mark.slow
def test_a_step_is_not_slower_than_the_tutorials(tmp_path):
    pattern = command.BenchOptions(folder=str(tmp_path)).faces()
    peer = "Keras GradientTape"
    own = (training_speed.OWN, training_speed.SHARED)
    makers = {name: (training_speed.own_loop, name, MIDDLE, pattern, 2) for name in own}
    makers[peer] = (training_speed.peer_loop, peer, MIDDLE, pattern, 2)
    with turns.in_processes(makers) as works:
        measured = turns.take(works, turns=7)
    assert turns.ratio(measured, training_speed.OWN, peer) > 0.8
    assert turns.ratio(measured, training_speed.SHARED, peer) > 0.9


@pytest.mark.extras
def test_the_benchmark_of_training_runs(tmp_path):
    line = [sys.executable, "-m", "benchmarks", "--only=training_speed", "--brief", "--turns=1", f"--folder={tmp_path}"]
    subprocess.run(line, cwd=ROOT, check=True)
    found = json.loads((tmp_path / table.FILE_FOR_PROGRAMS).read_text())["training_speed"]
    against_peers, *_ = found["rows"]
    assert (
        set(against_peers["measured"]) == {training_speed.OWN, *training_speed.PEERS} - training_speed.missing().keys()
    )
    assert all(rate > 0 for rates in against_peers["measured"].values() for rate in rates)
