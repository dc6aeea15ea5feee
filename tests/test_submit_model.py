"""`gan.submit_model`: the check, what goes along, and the receipt."""

import json
import re
import shutil

import emulator
import pytest
from conftest import ROOT

from gan import flags, receipt, storage, submit_model, train
from gan.arena import snapshot
from gan.cloud import source
from gan.errors import InputError, RunError


@pytest.fixture
def run(tiny_run, tmp_path):
    shutil.copytree(tiny_run[0], tmp_path / "run")
    return tmp_path / "run"


def submit(run, **settings):
    options = submit_model.SubmitModelOptions(train_dir=str(run), bucket="gs://team-a", sandbox="auto", **settings)
    return submit_model.submit_model(options)


@pytest.mark.slow
def test_a_run_is_checked_and_uploaded(run, storage_server, tmp_path, capsys):
    bucket = storage.path(storage_server.bucket("team-a"))
    assert submit(run, dry_run=True) is None
    told = capsys.readouterr().out
    assert "source/run.json" in told and told.endswith("dry run: nothing was uploaded\n")
    assert storage_server.requests == [] and not (run / "submitted.json").exists()
    returned = submit(run)
    told = capsys.readouterr().out
    assert re.search(r"^(PASS|WARN)  time", told, re.MULTILINE)  # a busy machine is slow
    assert "\n9 files uploaded\nsubmitted: gs://team-a/model; the receipt: gs://team-a/model/receipt.json" in told
    uploaded = receipt.parse((bucket / "model" / "receipt.json").read_bytes())
    assert returned == uploaded.as_json() == json.loads((run / "submitted.json").read_text())
    assert set(uploaded.files) == {
        *("model/checkpoint", "model/model.ckpt-6.meta", "model/model.ckpt-6.index"),
        *("model/model.ckpt-6.data-00000-of-00001", "source/run.json"),
        *("source/gan/models.py", "source/gan/losses.py", "source/gan/negatives.py", "source/gan/presets.py"),
    }
    assert all(file.sha256 in told and name in told for name, file in uploaded.files.items())
    assert uploaded.facts["checkpoint"] == "model.ckpt-6"
    taken = snapshot.take(bucket / "model", storage.path(str(tmp_path / "store")))
    assert taken.digest == uploaded.snapshot and f"submission {taken.digest}" in told


@pytest.mark.slow
def test_what_may_not_battle_is_not_uploaded(run, storage_server):
    storage_server.bucket("team-a")
    with pytest.raises(RunError, match="may not battle, so nothing was uploaded: generator: contract"):
        submit(run, latent_size=7)
    assert storage_server.objects("team-a") == {} and not (run / "submitted.json").exists()


@pytest.mark.parametrize("bucket", ["", "team-a", "/tmp/x", "s3://team-a"])
def test_a_bucket_is_asked_for(bucket):
    with pytest.raises(InputError, match="expected the team's bucket, for instance gs://team-a"):
        submit_model.SubmitModelOptions(bucket=bucket)
    with pytest.raises(InputError, match="no name of a bucket"):
        submit_model.SubmitModelOptions(bucket="gs://Team")


def record(folder, **options):
    (folder / "run.json").write_text(json.dumps({"options": options}))
    return storage.path(str(folder))


def test_source_is_what_the_run_names(tmp_path):
    found = source.of_run(
        record(
            tmp_path,
            preset="default",
            reader="my_models.Reader",
            generator_model="my_models.NoisyGenerator",
            discriminator_model="DCGAN4Discriminator",
            gradient_penalties="gan.losses.R1Penalty, my_models.Other",
            augmentations="",
            train_data_pattern="conftest.py,gs://secret.bucket/x",
        )
    )
    names = {"source/run.json", "source/gan/presets.py", "source/gan/models.py", "source/gan/losses.py"}
    assert set(found) == {*names, "source/my_models.py"}
    assert found["source/my_models.py"].read_text() == (ROOT / "tests" / "my_models.py").read_text()


def test_every_flag_that_names_a_class_is_looked_at():
    """But for the trackers, which change nothing of what battles."""
    by_path = {name: text for name, _, text in flags.describe(train.TrainOptions) if "dotted path" in text}
    assert by_path.keys() - {"--track"} == {f"--{name}" for name in source.HOMES}
    for name, home in source.HOMES.items():
        assert f"from {home} or by dotted path" in by_path[f"--{name}"]


def test_a_run_without_a_record_has_no_source(tmp_path):
    assert source.of_run(storage.path(str(tmp_path))) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"options": 3}', "{}"])
def test_a_damaged_record_is_named(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json cannot be used"):
        source.of_run(storage.path(str(tmp_path)))


def test_a_module_that_is_not_here_is_named(tmp_path):
    for name in ("no_such_module.Net", "no_such_package.nets.Net", "sys.Net"):
        with pytest.raises(InputError, match=r"the run names .*(run the command in the folder that holds it|failed)"):
            source.of_run(record(tmp_path, generator_model=name))


def test_keys_do_not_go_along(tmp_path, monkeypatch):
    (tmp_path / "careless.py").write_text("KEY = '''-----BEGIN " + "PRIVATE KEY-----'''")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"source/careless\.py holds what looks like a key"):
        source.of_run(record(tmp_path, generator_model="careless.Net"))


def test_what_is_missing_is_said_before_the_check(run, storage_server):
    with pytest.raises(InputError, match="gs://team-a: no such bucket; make it by gcloud storage buckets create"):
        submit(run)
    storage_server.bucket("team-a")
    with pytest.raises(InputError, match="nothing does not exist"):
        submit(run / "nothing")
    storage_server.order(emulator.refused(403))
    with pytest.raises(PermissionError, match="no permission"):
        submit(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bucket, words",
    [
        ("--bucket=gs://no-such-bucket", "error: gs://no-such-bucket: no such bucket; make it by"),
        ("--buket=gs://team-a", "Did you mean: bucket"),
        ("--nodry_run", "error: --bucket=: expected the team's bucket"),
    ],
)
def test_the_command_answers_in_one_line(bucket, words, run, storage_server, command):
    done = command("submit_model", f"--train_dir={run}", bucket)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1
