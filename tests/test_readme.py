"""What the README says must be true of the code."""

import importlib.util
import re
import shlex

import pytest
from conftest import ROOT, sample_options

import gan.battle
import gan.build_records
import gan.check_submission
import gan.describe_records
import gan.eval
import gan.export
import gan.generate_and_discriminate
import gan.linear_interpolation
import gan.package_task
import gan.referee
import gan.replay
import gan.submit
import gan.submit_model
import gan.tournament
import gan.train
import gan.train_features
from gan import flags

README = (ROOT / "README.md").read_text()
OPTIONS = {
    "train": gan.train.TrainOptions,
    "train_features": gan.train_features.TrainFeaturesOptions,
    "eval": gan.eval.EvalOptions,
    "generate_and_discriminate": gan.generate_and_discriminate.BattleOptions,
    "linear_interpolation": gan.linear_interpolation.InterpolationOptions,
    "check_submission": gan.check_submission.CheckSubmissionOptions,
    "battle": gan.battle.BattleOptions,
    "tournament": gan.tournament.TournamentOptions,
    "referee": gan.referee.RefereeOptions,
    "replay": gan.replay.ReplayOptions,
    "build_records": gan.build_records.BuildOptions,
    "describe_records": gan.describe_records.DescribeOptions,
    "export": gan.export.ExportOptions,
    "submit": gan.submit.SubmitOptions,
    "submit_model": gan.submit_model.SubmitModelOptions,
    "package_task": gan.package_task.PackageTaskOptions,
}


def commands():
    """Every `python -m gan.NAME ...` of the README and the Makefile, with the lines that continue it."""
    text = (README + (ROOT / "Makefile").read_text()).replace("\\\n", " ").replace("$(DEMO)", "demo")
    return sorted(set(re.findall(r"python -m gan\.(\w+)([^\n`|]*)", text)))


def test_the_flag_tables_are_current():
    spec = importlib.util.spec_from_file_location("flag_tables", ROOT / "docs" / "flag_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.with_current_tables(README) == README, "run: make readme"
    assert set(tables.OPTIONS) == set(OPTIONS)


@pytest.mark.parametrize("name, line", commands())
def test_every_command_has_flags_that_exist(name, line):
    flags.parse(OPTIONS[name], ["gan", *shlex.split(line.split(">")[0].split("#")[0])])


def test_there_are_commands_to_check():
    assert len(commands()) >= 10


def test_every_picture_is_there():
    pictures = re.findall(r"\]\((pics/[^)]+)\)", README)
    assert len(pictures) >= 4
    for picture in pictures:
        assert (ROOT / picture).exists(), picture


def test_the_models_and_losses_of_the_example_work(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme_models.py").write_text("\n".join(line[3:] for line in code.split("\n")))
    monkeypatch.syspath_prepend(tmp_path)
    gan.train.train(
        sample_options(
            train_dir=str(tmp_path / "run"),
            image_dir=str(tmp_path / "out"),
            generator_model="readme_models.MyGenerator",
            label_loss="readme_models.LeastSquaresLoss",
            max_steps=2,
        )
    )
    assert (tmp_path / "run" / "checkpoint").exists()


def test_make_targets_of_the_readme_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE):
        assert target in targets


def test_no_number_is_left_to_fill_in():
    generated = r"<!-- flags of .*?<!-- end -->"
    prose = re.sub(rf"{generated}|```.*?```|`[^`]*`|<!--.*?-->", "", README, flags=re.DOTALL)
    assert not re.findall(r"\b[A-Z]+_[A-Z_]+\b|\b[A-Z]+\d{3,}\b|\bTODO\b", prose)
