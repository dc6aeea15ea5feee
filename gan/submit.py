"""Runs a command on a rented machine of Google Cloud, as a custom job of Vertex AI.

    python -m gan.submit --bucket=gs://my-team -- --train_data_pattern='gs://my-team/faces/train*.tfrecords'
    python -m gan.submit --bucket=gs://my-team --config=cloudml-4gpu.yaml --display_name=big --wait -- --batch_size=64
    python -m gan.submit --bucket=gs://my-team --dry_run

The job runs the code of this checkout: it is built into a package and uploaded, and the image of the job
(docker/train.Dockerfile) brings the libraries. What the job writes lies below gs://my-team/NAME: the run in
checkpoints/, the newest export in model/, TensorBoard's curves in logs/. The same --display_name goes on with its run,
also with newer code.
"""

if not __package__:  # `python gan/submit.py` works like `python -m gan.submit`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import pathlib
import re
import sys
import tempfile
import time

import tqdm

from gan import flags, gs, stop_signals, storage
from gan.cloud import job_service, job_spec, keys, package, transfer
from gan.errors import InputError, Interrupted
from gan.flags import flag

_MOUNTED = "/gcs/"  # where the service shows a job all buckets as folders
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmitOptions(flags.Options):
    """Flags of `gan.submit`."""

    module: str = flag("gan.train", "what runs, a dotted name")
    config: str = flag("cloudml-gpu.yaml", "the machines, a CustomJobSpec as gcloud takes it; here or in the checkout")
    bucket: str = flag("", "where package and results go, gs://BUCKET or a folder in it; best in the region of the job")
    project: str = flag("", "the project that pays; empty: GOOGLE_CLOUD_PROJECT, or that of the default credentials")
    region: str = flag("us-central1", "where the machines are")
    display_name: str = flag("", "the job's name, and its folder in the bucket; empty: made of the module and the time")
    image: str = flag("", "URI of the image; empty: that of the --config file")
    own_modules: str = flag("", "modules of your own that go along: Python files and package folders, comma-separated")
    wait: bool = flag(False, "follow the job to its end; exit code 1 where it fails")
    dry_run: bool = flag(False, "print the job as a file for gcloud, send nothing, and stop")
    arguments: tuple = flags.rest("the flags of what runs")

    def __post_init__(self):
        super().__post_init__()
        if not self.bucket:
            raise InputError("--bucket is missing: it says where package and results go, for instance gs://my-team")
        if not gs.is_gs(self.bucket):
            raise InputError(f"--bucket={self.bucket}: expected gs://BUCKET or gs://BUCKET/FOLDER")
        storage.path(self.bucket)
        if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", self.region):
            raise InputError(f"--region={self.region}: expected a region like us-central1 or europe-west4")
        if self.display_name and not _NAME.fullmatch(self.display_name):
            raise InputError(
                f"--display_name={self.display_name}: expected letters, digits, '-' and '_', at most 128: it is the "
                "name of a folder as well"
            )
        if self.dry_run and self.wait:
            raise InputError("--dry_run submits nothing to --wait for; leave out one of them")


@dataclasses.dataclass(frozen=True)
class _Job:
    """All that is known of a job before it is submitted.

    Attributes:
      project: who pays.
      name: its display name.
      output: its folder in the bucket.
      package: the folder of its code in there.
      spec: plain data.
      modules: {place beside the package: file}, modules of the user's own.
      checkout: the folder that the package is built from.
    """

    project: str
    name: str
    output: object
    package: object
    spec: dict
    modules: dict
    checkout: pathlib.Path


def prepare(options):
    """Checks all that can be checked here, and returns the `_Job`.

    Raises:
      InputError: flags, the file of --config, the module or its flags cannot be used, this is no checkout, or nothing
        says which project pays.
    """
    checkout = package.checkout()
    arguments, values = flags.command_line(options.module, options.arguments)
    _refuse_what_fails_there(values)
    config = storage.path(options.config)
    if not config.exists() and (checkout / options.config).exists():  # whoever has own modules is in their folder
        config = storage.path(checkout / options.config)
    spec = job_spec.read(config)
    modules = package.own_modules(options.own_modules, options.module, [*arguments, *map(str, values.values())])
    name = options.display_name or f"{options.module.replace('.', '_')}_{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}"
    output = storage.path(options.bucket) / name
    # A folder for each state of the code: a job that is running, or begun anew on another machine, keeps its own.
    code = output / "package" / package.digest(checkout, modules)
    project = options.project or job_service.default_project()
    spec = job_spec.complete(
        spec,
        region=options.region,
        project=project,
        bucket=gs.bucket_of(options.bucket).removeprefix(gs.PREFIX),
        output=output,
        image=options.image,
        command=["python3", "-m", "gan.cloud.start", str(code), options.module, "--"],
        arguments=arguments,
    )
    keys.refuse({"the job": job_spec.as_yaml(spec).encode()})
    return _Job(project, name, output, code, spec, modules, checkout)


def _refuse_what_fails_there(values):
    """Raises InputError where flags that are right on this machine are wrong on a rented one."""
    if values.get("start_new_model"):
        raise InputError(
            "--start_new_model would begin anew each time that the job is moved to another machine: give another "
            "--display_name"
        )
    for name, value in values.items():
        parts = [part.strip() for part in value.split(",")] if name.endswith("data_pattern") and value else []
        if local := [part for part in parts if storage.is_local(part) and not part.startswith(_MOUNTED)]:
            raise InputError(
                f"--{name}={local[0]}: a rented machine does not see files of this one: copy them to a bucket, and "
                "name them by gs://"
            )


def submit(options):
    """Builds and uploads the package, and submits the job.

    Args:
      options: `SubmitOptions`.

    Returns:
      (the `job_service.JobService`, the job's number).

    Raises:
      InputError: something cannot be used, is not found, or not allowed.
      RunError: the quota does not suffice, or a service does not answer.
    """
    job = prepare(options)
    spec = job_service.message(job.spec)
    service = job_service.JobService(job.project, options.region)
    transfer.require(options.bucket)
    if other := service.unfinished(job.name):
        raise InputError(
            f"--display_name={job.name}: job {other} of this name has not ended, and two would write into one folder: "
            f"wait for it, end it ({service.gcloud('cancel', other)}), or give another name"
        )
    with tempfile.TemporaryDirectory() as temporary:
        wheel = package.build(job.checkout, temporary)
        print(f"uploading {', '.join([wheel.name, *job.modules])} to {job.package}", flush=True)
        package.upload(wheel, job.modules, job.package)
    number = service.create(job.name, spec)
    print(f"job {number}, {job.name}: {service.page(number)}")
    print(f"  its output   {job.output}")
    print(f"  TensorBoard  tensorboard --logdir={job.output / 'logs'}")
    print(f"  its log      {service.gcloud('stream-logs', number)}")
    print(f"  to stop it   {service.gcloud('cancel', number)}", flush=True)
    return service, number


def _wait(service, number):
    """Shows each new state of a job until its end; on a terminal, also the time that has passed."""

    def interrupt(signal_number, _):
        raise Interrupted(f"no longer waiting; the job goes on: {service.page(number)}", signal_number)

    seen = []
    bar = tqdm.tqdm(desc="waiting", bar_format="{desc}, {elapsed}", leave=False, disable=None)
    with stop_signals.handled_by(interrupt), bar as line:

        def report(state):
            if seen[-1:] != [state]:
                seen.append(state)
                line.write(f"{time.strftime('%H:%M:%S')} {state.lower()}")
                sys.stdout.flush()
            line.set_description_str(state.lower())

        service.follow(number, report)


def _dry_run(options):
    """Prints the specification; where the service's schema is at hand, it is checked against it as well."""
    job = prepare(options)
    try:
        job_service.sdk()
    except InputError as error:
        print(f"not checked against the service's schema: {error}", file=sys.stderr)
    else:
        job_service.message(job.spec)
    print(job_spec.as_yaml(job.spec), end="")


def main(options):
    """Submits, or shows what would be submitted."""
    if options.dry_run:
        _dry_run(options)
        return
    service, number = submit(options)
    if options.wait:
        _wait(service, number)


if __name__ == "__main__":
    flags.run(main, SubmitOptions, with_tensorflow=False)
