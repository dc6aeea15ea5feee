"""The files that describe jobs: the project's own, and those that are refused."""

import pytest
import yaml
from conftest import ROOT

from gan import storage
from gan.cloud import job_spec
from gan.errors import InputError

FILES = sorted(ROOT.glob("cloudml-*.yaml"))
MACHINES = {
    "cloudml-gpu.yaml": [("g2-standard-8", 1, 1)],
    "cloudml-4gpu.yaml": [("g2-standard-48", 4, 1)],
    "cloudml-multi-worker.yaml": [("g2-standard-8", 1, 1), ("g2-standard-8", 1, 3)],
}


def completed(spec, **settings):
    values = {
        "region": "europe-west4",
        "project": "p1",
        "bucket": "b1",
        "output": "gs://b1/run",
        "image": "",
        "command": ["python3", "-m", "gan.train"],
        "arguments": ("--seed=1",),
    }
    return job_spec.complete(spec, **values | settings)


def written(tmp_path, text):
    (tmp_path / "job.yaml").write_text(text)
    return storage.path(tmp_path / "job.yaml")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_files_ask_for_the_machines_that_they_name(file):
    pools = job_spec.read(storage.path(file))["workerPoolSpecs"]
    machines = [(pool["machineSpec"], pool["replicaCount"]) for pool in pools]
    asked = [(machine["machineType"], machine["acceleratorCount"], replicas) for machine, replicas in machines]
    assert asked == MACHINES[file.name]
    assert {machine["acceleratorType"] for machine, _ in machines} == {"NVIDIA_L4"}


@pytest.mark.extras
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_files_fit_the_schema_of_the_service_in_its_own_spelling(file):
    from google.protobuf import json_format

    from gan.cloud import job_service

    spec = job_spec.read(storage.path(file))
    message = job_service.message(spec)
    back = json_format.MessageToDict(type(message).pb(message))
    for pool in back["workerPoolSpecs"]:
        pool["replicaCount"] = int(pool["replicaCount"])  # JSON has 64-bit integers as texts
    assert back == spec


def test_every_pool_is_completed_and_nothing_else_changes():
    spec = yaml.safe_load((ROOT / "cloudml-multi-worker.yaml").read_text())
    before = yaml.safe_dump(spec)
    done = completed(spec)
    assert yaml.safe_dump(spec) == before
    assert done["baseOutputDirectory"] == {"outputUriPrefix": "gs://b1/run"}
    assert done["scheduling"] == spec["scheduling"]
    for pool, old in zip(done["workerPoolSpecs"], spec["workerPoolSpecs"], strict=True):
        assert pool["machineSpec"] == old["machineSpec"]
        assert pool["containerSpec"] == {
            "imageUri": "europe-west4-docker.pkg.dev/p1/gan/train:latest",
            "command": ["python3", "-m", "gan.train"],
            "args": ["--seed=1"],
        }


def test_arguments_and_environment_of_the_file_stay():
    container = {"imageUri": "a", "args": ["--a"], "env": [{"name": "X", "value": "gs://BUCKET/PROJECTION"}]}
    done = completed({"workerPoolSpecs": [{"containerSpec": container}, {}]}, image="mine")
    assert done["workerPoolSpecs"][1] == {}
    container = done["workerPoolSpecs"][0]["containerSpec"]
    assert container["args"] == ["--a", "--seed=1"]
    assert container["env"] == [{"name": "X", "value": "gs://b1/PROJECTION"}]
    assert container["imageUri"] == "mine"


def test_an_image_is_needed():
    with pytest.raises(InputError, match="--image is missing"):
        completed({"workerPoolSpecs": [{"containerSpec": {}}]})


def test_what_is_printed_is_read_again(tmp_path):
    done = completed(job_spec.read(storage.path(ROOT / "cloudml-gpu.yaml")))
    assert job_spec.read(written(tmp_path, job_spec.as_yaml(done))) == done


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: b: c", "is no YAML: mapping values are not allowed here"),
        ("", "workerPoolSpecs is missing"),
        ("workerPoolSpecs: []", "workerPoolSpecs is missing"),
        ("workerPoolSpecs: [{}]", "workerPoolSpecs is missing"),
        ("workerPoolSpecs: {containerSpec: {}}", "workerPoolSpecs is missing"),
        ("worker_pool_specs: []", "worker_pool_specs is not spelled as gcloud wants it: workerPoolSpecs"),
        ("workerPoolSpecs: [{containerSpec: {image_uri: x}}]", "image_uri is not spelled .* imageUri"),
        ("WorkerPoolSpecs: []", "WorkerPoolSpecs is not spelled as gcloud wants it: workerPoolSpecs"),
        ("workerPoolSpecs: [{pythonPackageSpec: {}}]", r"workerPoolSpecs\[0\] has no containerSpec"),
        ("workerPoolSpecs: [{containerSpec: {}}, {replicaCount: 1}]", r"workerPoolSpecs\[1\] has no containerSpec"),
        (
            "workerPoolSpecs: [{containerSpec: {args: --x}}]",
            r"workerPoolSpecs\[0\]: args=--x: expected a list of texts",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text, complaint):
    with pytest.raises(InputError, match=rf"--config={tmp_path}/job.yaml:? ?{complaint}"):
        job_spec.read(written(tmp_path, text))


def test_a_missing_file_is_refused():
    with pytest.raises(InputError, match=r"--config=no\.yaml: there is no such file"):
        job_spec.read(storage.path("no.yaml"))


@pytest.mark.extras
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("workerPoolSpecs: [{replicaCout: 1}]", 'no field named "replicaCout"'),
        ("workerPoolSpecs: [{replicaCount: many}]", "replicaCount field: invalid literal"),
        ("workerPoolSpecs: [{machineSpec: {acceleratorType: L4}}]", "Invalid enum value L4"),
        ("scheduling: {timeout: 86400}", "Duration JSON value not a string: 86400"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(text, complaint):
    from gan.cloud import job_service

    with pytest.raises(InputError, match=f"--config does not fit the service's schema: .*{complaint}"):
        job_service.message(yaml.safe_load(text))
