"""The processes of a training on several machines: who they are, by TF_CONFIG, and waiting until all are there."""

import contextlib
import dataclasses
import json
import os
import socket
import time

from gan.errors import InputError

_JOBS = {"chief": "chief", "master": "chief", "worker": "worker"}  # TF_CONFIG's, the chief first
_EXAMPLE = '{"cluster": {"chief": ["HOST:PORT"], "worker": ["HOST:PORT"]}, "task": {"type": "chief", "index": 0}}'
_SECONDS_BETWEEN_LINES = 60
_PATIENCE_SECONDS = 1800  # machines that are rented together need not begin together


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes that train together, as TF_CONFIG names them.

    Attributes:
      jobs: {"chief": (address, ...), "worker": (address, ...)}, either or both.
      job, task: which of them this process is.
    """

    jobs: dict = dataclasses.field(default_factory=lambda: {"worker": ("this process",)})
    job: str = "worker"
    task: int = 0

    @property
    def addresses(self):
        """Of all processes; the first is the chief's."""
        return [address for job in sorted(self.jobs) for address in self.jobs[job]]

    @property
    def index(self):
        """The place of this process among `addresses`."""
        return self.task + (len(self.jobs.get("chief", ())) if self.job == "worker" else 0)


def of_environment(kind):
    """Returns the `Cluster` of TF_CONFIG; of this process alone where there is none, or none is wanted.

    Args:
      kind: the value of `--distribution`.

    Raises:
      InputError: TF_CONFIG is missing where it is wanted, or cannot be used.
    """
    text = os.environ.get("TF_CONFIG", "")
    if kind == "multi_worker" and not text:
        raise InputError(
            "--distribution=multi_worker needs the environment variable TF_CONFIG, which names all processes and this "
            f"one: {_EXAMPLE}"
        )
    if kind in ("none", "mirrored") or not text:
        return Cluster()
    try:
        config = json.loads(text)
        if not isinstance(config, dict):
            raise TypeError("it is no object with cluster and task")
        jobs = {_job(name): tuple(addresses) for name, addresses in config.get("cluster", {}).items()}
        if not jobs:
            return Cluster()
        cluster = Cluster(jobs, _job(config["task"]["type"]), _number(config["task"]["index"]))
        for address in cluster.addresses:
            _host_and_port(address)
        if len(jobs.get("chief", ())) > 1:
            raise ValueError("there is more than one chief")
        if not 0 <= cluster.task < len(jobs.get(cluster.job, ())):
            raise ValueError(f"the cluster has no {cluster.job} {cluster.task}, which is to be this process")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"TF_CONFIG={text[:300]} cannot be used ({reason}); expected {_EXAMPLE}") from None
    return cluster


def _number(index):
    if not str(index).isdecimal():
        raise ValueError(f"the index {index!r} is no number from 0")
    return int(index)


def _job(name):
    if name not in _JOBS:
        raise ValueError(f"a process of the kind {name!r}: here are chief (or master) and worker")
    return _JOBS[name]


def await_the_others(cluster, place):
    """Waits until all processes are there; TensorFlow would as well, but heeds no signal meanwhile.

    Args:
      cluster: a `Cluster`.
      place: how this process calls itself in what it prints.

    Raises:
      TimeoutError: one has not come.
      OSError: another program has this process's port.
    """
    missing = [address for address in cluster.addresses if address != cluster.addresses[cluster.index]]
    _, port = _host_and_port(cluster.addresses[cluster.index])
    begun = next_line = time.monotonic()
    with _listening(port):
        while missing := [address for address in missing if not _is_there(address)]:
            if time.monotonic() >= next_line:
                print(f"{place}: waits for {', '.join(missing)}", flush=True)
                next_line += _SECONDS_BETWEEN_LINES
            if time.monotonic() - begun > _PATIENCE_SECONDS:
                raise TimeoutError(f"{', '.join(missing)} did not come: see what the other processes say")
            time.sleep(0.2)


def _listening(port):
    """A server for both kinds of addresses, where this machine has both."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # it may have been switched off
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _is_there(address):
    try:
        with socket.create_connection(_host_and_port(address), timeout=5):
            return True
    except OSError:
        return False


def _host_and_port(address):
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is no HOST:PORT")
    return host.strip("[]"), int(port)
