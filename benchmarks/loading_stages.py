"""Loads the submission in a folder as a worker does, and prints the seconds of each stage as JSON.

    python -m benchmarks.loading_stages FOLDER

A process does so once: what a library does at its first use is a part of what a team waits for.
"""

import contextlib
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

from gan.arena import worker  # noqa: F401 - first, for it keeps out most of TensorFlow

# isort: split
from gan import spec, storage
from gan.arena import freezing, inference, snapshot, subgraph, submission

_IMAGES = {spec.GENERATOR: 15, spec.DISCRIMINATOR: 30}


class _Watch:
    """Adds up the seconds of stages, each without those of the stages within it."""

    def __init__(self):
        self.seconds = {}
        self._within = [0.0]

    @contextlib.contextmanager
    def stage(self, name):
        begin = time.perf_counter()
        self._within.append(0.0)
        yield
        whole = time.perf_counter() - begin
        self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._within.pop()
        self._within[-1] += whole

    def put_on(self, module, function, name):
        timed = getattr(module, function)

        def call(*arguments):
            with self.stage(name):
                return timed(*arguments)

        setattr(module, function, call)


def main(folder):
    watch = _Watch()
    watch.put_on(subgraph, "_check", "check")
    watch.put_on(subgraph, "cut", "cut")
    watch.put_on(submission, "_read_values", "read the weights")
    watch.put_on(freezing, "freeze", "freeze")
    with tempfile.TemporaryDirectory() as store:
        with watch.stage("copy"):
            files = snapshot.take(storage.path(folder), storage.path(store))
        for role in spec.ROLES:
            with watch.stage("parse"):
                frozen = submission.load(pathlib.Path(files.path), files.checkpoint, role)
            with watch.stage("build the graph"):
                model = inference.Inference(frozen)
            batch = np.zeros((_IMAGES[role], model.input_size()), np.float32)
            with watch.stage("first run, which optimises"):
                model(batch)
    print(json.dumps(watch.seconds))


if __name__ == "__main__":
    main(sys.argv[1])
