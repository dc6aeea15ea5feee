"""Vertex AI's job service, as much of it as custom jobs need, over the gRPC client of Google's own library.

Where the environment variable AIPLATFORM_EMULATOR_HOST is set, to host:port, a stand-in is asked there in place of the
service, without encryption and credentials, as STORAGE_EMULATOR_HOST does it for Cloud Storage.
"""

import contextlib
import os
import time

from etils import epy

from gan.errors import InputError, RunError, first_line

with epy.lazy_imports():  # takes a second, and few commands need it
    import google.auth
    import grpc
    from google.api_core import exceptions, retry
    from google.auth import exceptions as auth_exceptions
    from google.protobuf import json_format

_LOGIN = "run `gcloud auth application-default login`, or name a key file in GOOGLE_APPLICATION_CREDENTIALS"
_SECONDS_PER_CALL = 60
# States in which a job does not change any more.
_ENDS = {"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}


def sdk():
    """Returns the module of Google's client library; its import takes a second.

    Raises:
      InputError: it is not installed.
    """
    try:
        from google.cloud import aiplatform_v1  # noqa: PLC0415
    except ImportError:
        raise InputError("jobs on Google Cloud need: pip install 'gan[cloud]'") from None
    return aiplatform_v1


def default_project():
    """Returns the project of the environment: GOOGLE_CLOUD_PROJECT, or that of the default credentials.

    Raises:
      InputError: there is none, or there are no credentials.
    """
    if project := os.environ.get("GOOGLE_CLOUD_PROJECT"):
        return project
    with _explained("looking for the project"):
        project = google.auth.default()[1]
    if not project:
        raise InputError("--project is missing, and the default credentials name none: give it")
    return project


def message(spec):
    """Returns a specification, plain data in camelCase, as the service's own message.

    Raises:
      InputError: a field is unknown or of the wrong type.
    """
    schema = sdk().CustomJobSpec
    try:
        return schema(json_format.ParseDict(spec, schema.pb(schema())))
    except json_format.ParseError as error:
        raise InputError(f"--config does not fit the service's schema: {first_line(error).rstrip('.')}") from None


class JobService:
    """Custom jobs of one project in one region.

    Args:
      project, region: where the jobs run.

    Raises:
      InputError: the library or the credentials are missing.
    """

    def __init__(self, project, region):
        self._sdk = sdk()
        self._place = f"projects/{project}/locations/{region}"
        self._project, self._region = project, region
        with _explained("connecting to Vertex AI"):
            self._client = self._connect()

    def _connect(self):
        client = self._sdk.JobServiceClient
        if stand_in := os.environ.get("AIPLATFORM_EMULATOR_HOST"):
            transport = client.get_transport_class("grpc")
            return client(transport=transport(channel=grpc.insecure_channel(stand_in)))
        return client(client_options={"api_endpoint": f"{self._region}-aiplatform.googleapis.com"})

    def create(self, display_name, spec):
        """Submits a job and returns its number.

        It is asked once alone: a second time could make a second job, which costs money.

        Args:
          display_name: what it is called on its page.
          spec: the service's message, see `message`.

        Raises:
          InputError, RunError: it is refused, or there is no answer.
        """
        job = self._sdk.CustomJob(display_name=display_name, job_spec=spec)
        doubt = f"whether the job was made is not known: look at {self._page('')} before you submit it again"
        with _explained(f"submitting to {self._region}", doubt):
            made = self._client.create_custom_job(
                parent=self._place, custom_job=job, retry=None, timeout=_SECONDS_PER_CALL
            )
        return made.name.rpartition("/")[2]

    def unfinished(self, display_name):
        """Returns the number of a job of this name that has not ended, or None.

        Raises:
          InputError, RunError: it cannot be asked.
        """
        with _explained(f"looking for jobs in {self._region}"):
            found = self._client.list_custom_jobs(
                request={"parent": self._place, "filter": f'display_name="{display_name}"'}, timeout=_SECONDS_PER_CALL
            )
            return next((job.name.rpartition("/")[2] for job in found if _state(job) not in _ENDS), None)

    def page(self, number):
        """Returns the address of the job's page in the console."""
        return self._page(f"/{number}")

    def _page(self, job):
        place = f"agent-platform/locations/{self._region}/training{job}"
        return f"https://console.cloud.google.com/{place}?project={self._project}"

    def gcloud(self, verb, number):
        """Returns the line that does something else with a job, for instance `stream-logs`."""
        return f"gcloud ai custom-jobs {verb} {number} --project={self._project} --region={self._region}"

    def follow(self, number, report, *, seconds=10.0, patience=600.0):
        """Waits for the end of a job.

        Args:
          number: the job's.
          report: is called with each state that is seen, such as "RUNNING".
          seconds: between two looks.
          patience: seconds without an answer after which it gives up.

        Raises:
          RunError: the job did not succeed, or the service does not answer any more.
        """
        while True:
            job = self._look(number, patience)
            state = _state(job)
            report(state)
            if state in _ENDS:
                break
            time.sleep(seconds)
        if "SUCCEEDED" not in state:
            reason = " ".join(job.error.message.split()) or "the service gives no reason"
            raise RunError(f"the job ended as {state}: {reason}; its log: {self.gcloud('stream-logs', number)}")

    def _look(self, number, patience):
        passing = (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded, exceptions.InternalServerError)
        passing += (exceptions.TooManyRequests,)  # its limit of questions, which has nothing to do with the job
        again = retry.Retry(retry.if_exception_type(*passing), initial=0.5, maximum=30, timeout=patience)
        with _explained("asking for the job's state", f"the job goes on: {self.page(number)}"):
            name = f"{self._place}/customJobs/{number}"
            return self._client.get_custom_job(name=name, retry=again, timeout=_SECONDS_PER_CALL)


def _state(job):
    return job.state.name.removeprefix("JOB_STATE_")


@contextlib.contextmanager
def _explained(deed, comfort=""):
    """Turns what Google's libraries raise within the block into one line: what was done, why it failed, what to do.

    Args:
      deed: what is done.
      comfort: what to know where the connection is lost.
    """
    try:
        yield
    except auth_exceptions.DefaultCredentialsError:
        raise InputError(f"{deed}: there are no credentials for Google Cloud: {_LOGIN}") from None
    except auth_exceptions.RefreshError as error:
        raise InputError(f"{deed}: the credentials are not valid ({first_line(error)}): {_LOGIN}") from None
    except exceptions.Unauthenticated as error:
        raise InputError(f"{deed}: the credentials are refused ({_reason(error)}): {_LOGIN}") from None
    except exceptions.PermissionDenied as error:
        raise InputError(
            f"{deed}: not allowed ({_reason(error)}): the account needs the role Vertex AI User in --project"
        ) from None
    except exceptions.ResourceExhausted as error:
        raise RunError(
            f"{deed}: the quota does not suffice ({_reason(error)}): "
            "ask for more on the console's page of quotas, or try another --region or a smaller machine"
        ) from None
    except (exceptions.NotFound, exceptions.MethodNotImplemented) as error:
        raise InputError(
            f"{deed}: not found ({_reason(error)}): check --project, and that --region is one of Vertex AI"
        ) from None
    except (exceptions.InvalidArgument, exceptions.FailedPrecondition) as error:
        raise InputError(f"{deed}: refused ({_reason(error)}): check --config, --region and --image") from None
    except (exceptions.GoogleAPIError, auth_exceptions.GoogleAuthError) as error:
        words = [f"{deed}: no answer ({_reason(error)})", comfort or "check the connection and --region, and try again"]
        raise RunError("; ".join(words)) from None


def _reason(error):
    """What the service says, in one line; of a retry that gave up, what it says the last time."""
    return first_line(getattr(error, "cause", None) or error).rstrip(".")
