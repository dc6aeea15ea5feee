"""A stand-in for Vertex AI's job service: a real gRPC server in this process, with the service's own messages."""

import concurrent.futures
import contextlib

import grpc
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.types import job_service

STATES = aiplatform_v1.JobState


class FakeJobService:
    """Keeps what arrives, and answers as a test has set it up.

    Attributes:
      jobs: the `CustomJob`s that were created.
      parents: the places that they were created in.
      refusals: (status code, text) to answer the next calls with, in turn.
      others: {display name: state} of jobs that are there already.
      states: (state, error text) of the jobs at each look, in turn; the last one stays.
    """

    def __init__(self):
        self.jobs, self.parents, self.refusals, self.others = [], [], [], {}
        self.states = [("SUCCEEDED", "")]
        self.looks = 0

    def create(self, request, context):
        self._refuse(context)
        self.parents.append(request.parent)
        self.jobs.append(request.custom_job)
        # The real service names the project by its number.
        return self._job("projects/4711/locations/us-central1/customJobs/123", "PENDING", "")

    def list(self, request, context):
        self._refuse(context)
        found = {name: state for name, state in self.others.items() if request.filter == f'display_name="{name}"'}
        jobs = [self._job(f"{request.parent}/customJobs/77", state, "") for state in found.values()]
        return job_service.ListCustomJobsResponse(custom_jobs=jobs)

    def get(self, request, context):
        self._refuse(context)
        state, text = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        return self._job(request.name, state, text)

    def _refuse(self, context):
        if self.refusals:
            context.abort(*self.refusals.pop(0))

    @staticmethod
    def _job(name, state, text):
        job = aiplatform_v1.CustomJob(name=name, state=STATES[f"JOB_STATE_{state}"])
        job.error.message = text
        return job


@contextlib.contextmanager
def serving(fake):
    """Serves a `FakeJobService` on a free port and yields host:port."""
    calls = {
        "CreateCustomJob": (fake.create, job_service.CreateCustomJobRequest, aiplatform_v1.CustomJob),
        "GetCustomJob": (fake.get, job_service.GetCustomJobRequest, aiplatform_v1.CustomJob),
        "ListCustomJobs": (fake.list, job_service.ListCustomJobsRequest, job_service.ListCustomJobsResponse),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=request.deserialize, response_serializer=response.serialize
        )
        for name, (answer, request, response) in calls.items()
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    name = "google.cloud.aiplatform.v1.JobService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)
