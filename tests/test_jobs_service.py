"""Jobs from end to end: the real commands and Google's own client against a job service and a storage that are near."""

import os
import re
import signal
import subprocess
import sys

import grpc
import pytest
from conftest import ROOT

from gan import storage, submit
from gan.cloud import job_service
from gan.errors import InputError, RunError

pytestmark = pytest.mark.extras


@pytest.fixture
def fake(monkeypatch):
    """The job service's stand-in, for this process and for commands."""
    import fake_job_service

    service = fake_job_service.FakeJobService()
    with fake_job_service.serving(service) as address:
        monkeypatch.setenv("AIPLATFORM_EMULATOR_HOST", address)
        yield service


@pytest.fixture
def bucket(storage_server):
    return storage_server.bucket("team")


@pytest.fixture
def service(fake):
    return job_service.JobService("p1", "us-central1")


def submitting(bucket, *more):
    return ("submit", f"--bucket={bucket}", "--project=p1", "--display_name=mine", *more)


def test_what_arrives_is_what_was_meant(fake, bucket, storage_server, command):
    arguments = ["--preset=sample", "--train_data_pattern=gs://team/faces/train*.tfrecords", "--image_dir=a b"]
    flags = ("--region=europe-west4", "--config=cloudml-multi-worker.yaml", "--image=example/image:1")
    done = command(*submitting(bucket, *flags, "--", *arguments))
    assert done.returncode == 0, done.stderr
    assert fake.parents == ["projects/p1/locations/europe-west4"]
    (job,) = fake.jobs
    assert job.display_name == "mine"
    spec = job.job_spec
    assert spec.base_output_directory.output_uri_prefix == "gs://team/mine"
    assert spec.scheduling.timeout.days == 1 and spec.scheduling.restart_job_on_worker_restart
    assert [pool.replica_count for pool in spec.worker_pool_specs] == [1, 3]
    for pool in spec.worker_pool_specs:
        assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_type.name) == (
            "g2-standard-8",
            "NVIDIA_L4",
        )
        container = pool.container_spec
        assert container.image_uri == "example/image:1"
        package = container.command[3]
        assert list(container.command) == ["python3", "-m", "gan.cloud.start", package, "gan.train", "--"]
        assert sorted(container.args) == sorted(arguments)
    (name,) = storage_server.objects("team")
    assert re.fullmatch(r"mine/package/[0-9a-f]{16}/gan-[\d.]+-py3-none-any\.whl", name)
    assert f"gs://team/{name}".startswith(f"{package}/")
    page = "https://console.cloud.google.com/agent-platform/locations/europe-west4/training/123?project=p1"
    assert f"job 123, mine: {page}\n" in done.stdout
    assert "tensorboard --logdir=gs://team/mine/logs\n" in done.stdout
    assert "gcloud ai custom-jobs stream-logs 123 --project=p1 --region=europe-west4\n" in done.stdout


@pytest.mark.slow
def test_the_job_that_was_submitted_runs(fake, bucket, storage_server, command, tmp_path, monkeypatch):
    """Does what the service does with it: starts the command with its folders in the environment."""
    (tmp_path / "my_models.py").write_text(
        "from gan.models import SampleGenerator\n\nclass Mine(SampleGenerator): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    flags = ("--preset=sample", "--generator_model=my_models.Mine", "--max_steps=2", "--export_image_steps=1")
    submit.submit(
        submit.SubmitOptions(
            bucket=bucket,
            project="p1",
            display_name="mine",
            config=str(ROOT / "cloudml-gpu.yaml"),
            own_modules="my_models.py",
            arguments=flags,
        )
    )
    container = fake.jobs[0].job_spec.worker_pool_specs[0].container_spec
    output = fake.jobs[0].job_spec.base_output_directory.output_uri_prefix
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, *container.command[1:], *container.args],
        cwd=tmp_path / "elsewhere",
        env={
            **os.environ,
            "AIP_MODEL_DIR": f"{output}/model/",
            "AIP_CHECKPOINT_DIR": f"{output}/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"{output}/logs/",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert storage.read_json(storage.path(output) / "model" / "submission.json")["step"] == 2
    names = set(storage_server.objects("team"))
    assert {"mine/model/saved_model.pb", "mine/checkpoints/checkpoint", "mine/checkpoints/images/001.png"} <= names
    assert [name for name in names if name.startswith("mine/logs/events.")]


REFUSALS = [
    ("RESOURCE_EXHAUSTED", 1, r"the quota does not suffice \(no L4 left\): ask for more"),
    ("INVALID_ARGUMENT", 2, r"refused \(no L4 left\): check --config, --region and --image"),
    ("FAILED_PRECONDITION", 2, r"refused \(no L4 left\): check --config"),
    ("NOT_FOUND", 2, r"not found \(no L4 left\): check --project, and that --region"),
    ("UNIMPLEMENTED", 2, r"not found \(no L4 left\): check --project, and that --region"),
    ("PERMISSION_DENIED", 2, r"not allowed \(no L4 left\): the account needs the role Vertex AI User"),
    ("UNAUTHENTICATED", 2, r"the credentials are refused \(no L4 left\): run `gcloud auth"),
    ("UNAVAILABLE", 1, r"no answer \(no L4 left\); whether the job was made is not known: look at https://\S+ before"),
    ("DEADLINE_EXCEEDED", 1, r"no answer \(no L4 left\); whether the job was made is not known"),
]


@pytest.mark.parametrize(("code", "exit_code", "line"), REFUSALS, ids=[code for code, *_ in REFUSALS])
def test_a_refusal_is_one_clear_line(fake, service, code, exit_code, line):
    fake.refusals = [(grpc.StatusCode[code], "no L4 left.")]
    with pytest.raises((InputError, RunError), match=f"^submitting to us-central1: {line}") as caught:
        service.create("mine", job_service.message({}))
    assert "\n" not in str(caught.value)
    assert type(caught.value) is (RunError if exit_code == 1 else InputError)
    assert fake.jobs == []


def test_a_lost_answer_makes_no_second_job(fake, service, monkeypatch):
    fake.refusals = [(grpc.StatusCode.UNAVAILABLE, "gone")]
    with pytest.raises(RunError, match="whether the job was made is not known"):
        service.create("mine", job_service.message({}))
    assert fake.refusals == [] and fake.jobs == []  # asked once


def test_a_service_that_is_not_there_is_told(monkeypatch, unused_port):
    monkeypatch.setenv("AIPLATFORM_EMULATOR_HOST", f"127.0.0.1:{unused_port}")
    with pytest.raises(RunError, match=r"submitting to us-central1: no answer .*; whether the job was made"):
        job_service.JobService("p1", "us-central1").create("mine", job_service.message({}))


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]  # bound, but nobody listens


def test_a_missing_bucket_is_told_before_anything_is_submitted(fake, storage_server, command):
    done = command(*submitting("gs://absent"))
    assert done.returncode == 2
    assert done.stderr == (
        "error: gs://absent: no such bucket; make it by gcloud storage buckets create gs://absent, or name another\n"
    )
    assert fake.jobs == []


@pytest.mark.parametrize(("state", "code"), [("RUNNING", 2), ("PENDING", 2), ("FAILED", 0), ("SUCCEEDED", 0)])
def test_two_jobs_do_not_write_into_one_folder(state, code, fake, bucket, command):
    fake.others = {"mine": state, "yours": "RUNNING"}
    done = command(*submitting(bucket))
    assert (done.returncode, len(fake.jobs)) == (code, 1 - code // 2), done.stderr
    if code:
        assert done.stderr.startswith("error: --display_name=mine: job 77 of this name has not ended, and two would ")
        assert "gcloud ai custom-jobs cancel 77 --project=p1 --region=us-central1" in done.stderr


def test_without_credentials_nothing_is_built(storage_server, command, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    done = command(*submitting("gs://team"))
    assert done.returncode == 2
    assert "connecting to Vertex AI: there are no credentials for Google Cloud: run `gcloud auth" in done.stderr
    assert done.stdout == ""


def test_waiting_shows_each_state_once_and_ends_well(fake, bucket, command):
    fake.states = [("SUCCEEDED", "")]
    done = command(*submitting(bucket, "--wait"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" succeeded\n")


def test_a_job_that_fails_is_a_failure_with_the_jobs_own_words(fake, bucket, command):
    fake.states = [("FAILED", "The replica workerpool0-0\nexited with status 2.")]
    done = command(*submitting(bucket, "--wait"))
    assert done.returncode == 1
    assert done.stderr == (
        "error: the job ended as FAILED: The replica workerpool0-0 exited with status 2.; its log: "
        "gcloud ai custom-jobs stream-logs 123 --project=p1 --region=us-central1\n"
    )


@pytest.mark.parametrize("end", ["CANCELLED", "EXPIRED"])
def test_other_ends_are_failures_too(fake, service, end):
    fake.states = [("PENDING", ""), (end, "")]
    seen = []
    with pytest.raises(RunError, match=f"the job ended as {end}: the service gives no reason"):
        service.follow("123", seen.append, seconds=0)
    assert seen == ["PENDING", end]


def test_waiting_outlasts_a_lost_connection(fake, service):
    fake.states = [("RUNNING", ""), ("RUNNING", ""), ("SUCCEEDED", "")]
    lost, too_many = (grpc.StatusCode.UNAVAILABLE, "gone"), (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests")
    fake.refusals = [lost, too_many, lost]
    seen = []
    service.follow("123", seen.append, seconds=0)
    assert seen == ["RUNNING", "RUNNING", "SUCCEEDED"]
    assert fake.refusals == []


def test_waiting_gives_up_in_the_end_and_says_that_the_job_goes_on(fake, service):
    fake.refusals = [(grpc.StatusCode.UNAVAILABLE, "gone")] * 100
    with pytest.raises(RunError, match=r"no answer \(gone\); the job goes on: https://console"):
        service.follow("123", print, seconds=0, patience=0.1)


def test_an_interrupt_while_waiting_leaves_the_job_alone(fake, bucket):
    fake.states = [("RUNNING", "")]
    line = [sys.executable, "-m", *("gan.submit", *submitting(bucket, "--wait")[1:])]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for text in process.stdout:
            if text.endswith(" running\n"):
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 128 + signal.SIGINT
        assert process.stderr.read().startswith("no longer waiting; the job goes on: https://console.cloud.google.com/")
