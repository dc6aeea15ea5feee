"""`gan.submit` without the library of the service: what is refused here, and what `--dry_run` shows."""

import re
import sys

import pytest
import yaml
from conftest import ROOT

from gan import flags, storage, submit
from gan.cloud import job_spec
from gan.errors import InputError

SETTINGS = {"bucket": "gs://team/runs", "project": "p1", "config": str(ROOT / "cloudml-gpu.yaml")}


def options(**settings):
    return submit.SubmitOptions(**SETTINGS | settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"bucket": ""}, "--bucket is missing"),
        ({"bucket": "team"}, "--bucket=team: expected gs://BUCKET"),
        ({"bucket": "gs://Team"}, "gs://Team: 'Team' is no name of a bucket"),
        ({"region": "mars"}, "--region=mars: expected a region like us-central1"),
        ({"display_name": "a/b"}, "--display_name=a/b: expected letters"),
        ({"display_name": "x" * 129}, "at most 128"),
        ({"dry_run": True, "wait": True}, "--dry_run submits nothing to --wait for"),
    ],
)
def test_flags_that_cannot_be_used_are_refused(settings, complaint):
    with pytest.raises(InputError, match=complaint):
        options(**settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"module": "gan.trian"}, "--module=gan.trian: there is no such module"),
        ({"module": ""}, "--module=: there is no such module"),
        ({"module": "gan.spec"}, "--module=gan.spec is no command"),
        ({"arguments": ("--batch_size=0",)}, "gan.train: --batch_size=0: expected at least 1"),
        ({"arguments": ("--bach_size=8",)}, "gan.train: Unknown command line flag 'bach_size'. Did you mean: batch"),
        ({"arguments": ("faces",)}, "gan.train: unexpected argument 'faces'"),
        ({"config": "absent.yaml"}, "--config=absent.yaml: there is no such file"),
        ({"arguments": ("--train_dir=AKIA" + 16 * "A",)}, "the job holds what looks like a key .AKIAAAAAAAAA...."),
        ({"arguments": ("--start_new_model",)}, "--start_new_model would begin anew each time .*--display_name"),
        ({"arguments": ("--train_data_pattern", "/home/me/faces*")}, "--train_data_pattern=/home/me/faces.: a rented"),
        ({"arguments": ("--train_data_pattern=gs://a/b,c",)}, "--train_data_pattern=c: a rented machine does not see"),
        ({"own_modules": "absent.py"}, "--own_modules=absent.py: absent.py is no Python file"),
    ],
)
def test_what_would_fail_in_the_job_is_refused_here(settings, complaint):
    with pytest.raises(InputError, match=complaint):
        submit.prepare(options(**settings))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The current folder, with a model and a preset of one's own."""
    (tmp_path / "submitted_models.py").write_text("NAME = 'mine'")
    (tmp_path / "submitted_presets.py").write_text(
        "from gan.presets import Preset\n\n"
        "class Mine(Preset):\n    generator_model = 'submitted_models.G'\n    batch_size = 8\n"
    )
    (tmp_path / "flags.txt").write_text("--generator_model=submitted_models.G\n--batch_size=8\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "along"),
    [
        (["--generator_model", "submitted_models.G"], ""),
        (["--flagfile=flags.txt"], ""),
        (["--preset=submitted_presets.Mine"], "submitted_presets.py"),
    ],
)
def test_own_modules_are_asked_for_however_they_are_named(own, arguments, along):
    with pytest.raises(InputError, match=r"add --own_modules=submitted_models\.py$"):
        submit.prepare(options(arguments=tuple(arguments), own_modules=along))


def test_a_job_gets_what_a_flag_file_says(own):
    given = ("--flagfile=flags.txt", "--seed", "7", "--nohorizontal_flip", "--train_data_pattern=/gcs/team/faces*")
    job = submit.prepare(options(arguments=given, own_modules="submitted_models.py"))
    assert sorted(job.spec["workerPoolSpecs"][0]["containerSpec"]["args"]) == [
        *("--batch_size=8", "--generator_model=submitted_models.G", "--nohorizontal_flip", "--seed=7"),
        "--train_data_pattern=/gcs/team/faces*",
    ]


def test_flags_of_the_module_before_the_dashes_are_refused():
    with pytest.raises(InputError, match=r"'batch_size' .*flags of what runs stand after ' -- '"):
        flags.parse(submit.SubmitOptions, ["submit", "--bucket=gs://team", "--batch_size=8"])


def test_what_follows_the_dashes_is_the_modules():
    parsed = flags.parse(submit.SubmitOptions, ["submit", "--bucket=gs://team", "--", "--bucket=x", "--", "--help"])
    assert parsed.bucket == "gs://team"
    assert parsed.arguments == ("--bucket=x", "--", "--help")


def test_a_job_is_named_by_its_module_and_the_time():
    job = submit.prepare(options(module="gan.eval"))
    assert job.name.startswith("gan_eval_20")
    assert re.fullmatch(rf"gs://team/runs/{job.name}/package/[0-9a-f]{{16}}", str(job.package))
    assert submit.prepare(options(display_name="mine")).name == "mine"


def test_the_checkouts_files_are_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    four = options(config="cloudml-4gpu.yaml")
    assert submit.prepare(four).spec["workerPoolSpecs"][0]["machineSpec"]["acceleratorCount"] == 4
    (tmp_path / "cloudml-4gpu.yaml").write_text("workerPoolSpecs: [{containerSpec: {imageUri: mine}}]")
    assert submit.prepare(four).spec["workerPoolSpecs"][0]["containerSpec"]["imageUri"] == "mine"


def test_the_project_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    assert submit.prepare(options(project="")).project == "of-the-environment"
    assert submit.prepare(options()).project == "p1"


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """The environment of somebody who is not logged in, without any network."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def test_without_credentials_and_project_it_says_how_to_get_them(nobody):
    with pytest.raises(
        InputError, match="no credentials for Google Cloud: run `gcloud auth application-default login`"
    ):
        submit.prepare(options(project=""))


def test_a_dry_run_prints_a_file_for_gcloud(command, nobody, tmp_path):
    done = command(
        *("submit", "--bucket=gs://team", "--project=p1", "--region=europe-west4", "--display_name=mine", "--dry_run"),
        *("--", "--preset=sample", "--train_data_pattern=gs://team/faces/train*.tfrecords"),
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "job.yaml").write_text(done.stdout)
    spec = yaml.safe_load(done.stdout)
    assert spec["baseOutputDirectory"] == {"outputUriPrefix": "gs://team/mine"}
    container = spec["workerPoolSpecs"][0]["containerSpec"]
    *begin, package, module, dashes = container["command"]
    assert container["imageUri"] == "europe-west4-docker.pkg.dev/p1/gan/train:latest"
    assert (*begin, module, dashes) == ("python3", "-m", "gan.cloud.start", "gan.train", "--")
    assert package.startswith("gs://team/mine/package/")
    assert sorted(container["args"]) == ["--preset=sample", "--train_data_pattern=gs://team/faces/train*.tfrecords"]
    again = job_spec.read(storage.path(tmp_path / "job.yaml"))
    assert again == spec


@pytest.fixture
def no_library(monkeypatch):
    """The environment of somebody who has not installed the extra."""
    import google.cloud

    monkeypatch.setitem(sys.modules, "google.cloud.aiplatform_v1", None)
    monkeypatch.delattr(google.cloud, "aiplatform_v1", raising=False)  # of an import before


def test_a_dry_run_without_the_library_says_what_it_did_not_check(no_library, capsys):
    submit.main(options(dry_run=True))
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["workerPoolSpecs"][0]["replicaCount"] == 1
    assert err.startswith(
        "not checked against the service's schema: jobs on Google Cloud need: pip install 'gan[cloud]'"
    )


def test_submitting_without_the_library_names_it(no_library):
    with pytest.raises(InputError, match=r"jobs on Google Cloud need: pip install 'gan\[cloud\]'"):
        submit.submit(options())
