"""The folders that a job gets from the service, and the copy of the newest export."""

import pytest
from conftest import sample_options

from gan import eval as evaluation
from gan import flags, storage, train
from gan.errors import InputError

VARIABLES = {
    "train_dir": "AIP_CHECKPOINT_DIR",
    "model_dir": "AIP_MODEL_DIR",
    "tensorboard_dir": "AIP_TENSORBOARD_LOG_DIR",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_the_services_folders_are_defaults(name, monkeypatch):
    default = getattr(train.TrainOptions(), name)
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    assert getattr(flags.parse(train.TrainOptions, ["train"]), name) == default
    monkeypatch.setenv(VARIABLES[name], "gs://b/run/place/")
    parsed = flags.parse(train.TrainOptions, ["train"])
    assert getattr(parsed, name) == "gs://b/run/place/"
    assert [each for each in VARIABLES if getattr(parsed, each) == "gs://b/run/place/"] == [name]
    assert getattr(flags.parse(train.TrainOptions, ["train", f"--{name}=mine"]), name) == "mine"
    monkeypatch.setenv(VARIABLES[name], "")
    assert getattr(flags.parse(train.TrainOptions, ["train"]), name) == default


def test_an_evaluation_in_a_job_reads_the_jobs_run(monkeypatch):
    monkeypatch.setenv("AIP_CHECKPOINT_DIR", "gs://b/run/checkpoints/")
    assert flags.parse(evaluation.EvalOptions, ["eval"]).train_dir == "gs://b/run/checkpoints/"


def test_the_help_names_the_variable():
    rows = {name: text for name, _, text in flags.describe(train.TrainOptions)}
    assert rows["--model_dir"].endswith("; where AIP_MODEL_DIR is set, its value")


def run(tmp_path, **settings):
    places = {"train_dir": str(tmp_path / "run"), "model_dir": str(tmp_path / "model")}
    train.train(sample_options(**places | {"batch_size": 16, "held_out_images": 0} | settings))


@pytest.mark.slow
def test_the_newest_export_replaces_the_one_before(tmp_path):
    for steps in (1, 2):
        run(tmp_path, max_steps=steps)  # the second time over what a killed copy may leave
        model, export = storage.path(tmp_path / "model"), storage.path(tmp_path / "run" / "export" / f"step_{steps}")
        copies = {str(file.relative_to(model)): storage.sha256(file) for file in storage.files_below(model)}
        originals = {str(file.relative_to(export)): storage.sha256(file) for file in storage.files_below(export)}
        assert copies == originals and "saved_model.pb" in copies
        assert storage.read_json(model / "submission.json")["step"] == steps
        (model / "saved_model.pb").unlink()
        (model / "submission.json").unlink()


@pytest.mark.slow
def test_a_session_that_has_nothing_to_train_makes_up_for_a_copy_that_was_not_made(tmp_path):
    run(tmp_path, max_steps=1, model_dir="")
    run(tmp_path, max_steps=1)
    assert storage.read_json(storage.path(tmp_path / "model" / "submission.json"))["step"] == 1


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"--model_dir=.*/model holds thesis.txt, which is of no export"):
        run(tmp_path, max_steps=1)
    assert (tmp_path / "model" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train_dir", "tensorboard_dir", "image_dir"])
def test_no_folder_of_the_run_lies_where_exports_replace_everything(tmp_path, name):
    inside = str(tmp_path / "model" / "run")
    with pytest.raises(InputError, match=f"--{name}={inside} lies in --model_dir="):
        run(tmp_path, **{name: inside})
