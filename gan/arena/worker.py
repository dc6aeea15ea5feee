"""The process in which one team's models run; inside the sandbox, it sees the snapshot and nothing else.

The organiser starts it once per team (`gan.arena.player`) and sends requests: the answer to each is an array, or the
reason why there is none. Only code of this project runs here; but what the models' graphs do is up to the team, so
nobody relies on this process for anything but its answers.
"""

import importlib.util
import os
import pathlib
import resource
import sys
import types


def skip_package_init():
    """Lets the parts of TensorFlow that run a graph be imported without the rest.

    `import tensorflow` loads Keras, data sets, distribution and more: 3.0 of the 3.6 seconds that starting a worker
    would take. Its submodules do not need them.
    """
    if "tensorflow" not in sys.modules:
        package = types.ModuleType("tensorflow")
        package.__spec__ = importlib.util.find_spec("tensorflow")
        package.__path__ = package.__spec__.submodule_search_locations
        sys.modules["tensorflow"] = package


skip_package_init()

from gan import spec  # noqa: E402
from gan.arena import inference, submission, wire  # noqa: E402
from gan.errors import SubmissionError, first_line, printable  # noqa: E402

_MAX_FILE_BYTES = 1 << 20
_MAX_OPEN_FILES = 256
_ROLES = {role.name: role for role in spec.ROLES}


def main(argv):
    """Says that it is ready, with an empty message, and answers requests from standard input until that ends.

    Args:
      argv: (program, snapshot folder, name of its TF1 checkpoint or "", megabytes of memory, seconds of computing per
        request).
    """
    folder, checkpoint, megabytes, seconds = argv[1:]
    requests, answers = _private_pipes()
    _limit(int(megabytes))
    models = {}
    _write(answers, wire.pack({}))
    while (message := _read(requests)) is not None:
        _allow_seconds(float(seconds))
        _write(answers, _answer(models, pathlib.Path(folder), checkpoint or None, *message))


def _private_pipes():
    """Takes standard input and output away, so that no library writes into an answer."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, answers


def _limit(megabytes):
    for kind, most in (
        (resource.RLIMIT_DATA, megabytes << 20),
        (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _allow_seconds(seconds):
    """The organiser's clock ends a request that takes too long; this ends one whose organiser has gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _read(requests):
    prefix = requests.read(wire.LENGTHS.size)
    if len(prefix) < wire.LENGTHS.size:
        return None
    header, body = wire.lengths(prefix)
    return wire.unpack(requests.read(header), requests.read(body))


def _write(answers, message):
    answers.write(message)
    answers.flush()


def _answer(models, folder, checkpoint, request, batch):
    try:
        role = _ROLES[request["role"]]
        if role not in models:
            models[role] = inference.Inference(submission.load(folder, checkpoint, role))
        if batch is None:
            return wire.pack({"input_size": models[role].input_size()})
        return wire.pack({}, models[role](batch))
    except (SubmissionError, wire.WireError) as error:
        return wire.pack({"fault": str(error)})
    except MemoryError:
        return wire.pack({"fault": "the model needs more memory than is allowed"})
    except Exception as error:  # noqa: BLE001 - a stranger's file found a way that nobody thought of; it fails alone
        return wire.pack({"fault": f"unexpected {type(error).__name__}: {printable(first_line(error))}"})


if __name__ == "__main__":
    main(sys.argv)
