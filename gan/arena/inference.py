"""Runs a frozen model on arrays."""

import numpy as np
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import session
from tensorflow.python.framework import errors, importer, ops

from gan.errors import SubmissionError, first_line

_REFUSALS = (ValueError, TypeError, KeyError, RuntimeError, errors.OpError)


class Inference:
    """A `submission.FrozenModel` as a function of arrays.

    It computes in one thread: the last bits of a sum depend on how many threads share it, and a result should not
    depend on the machine's number of cores.

    Raises:
      SubmissionError: TensorFlow does not accept the graph.
    """

    def __init__(self, model):
        self._role = model.role
        graph = ops.Graph()
        try:
            with graph.as_default():
                importer.import_graph_def(model.graph_def, name="")
            self._input, self._output = (graph.get_tensor_by_name(name) for name in (model.input, model.output))
        except _REFUSALS as error:
            raise SubmissionError(f"the graph cannot be built ({first_line(error)})") from None
        one_thread = config_pb2.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, use_per_session_threads=True
        )
        self._session = session.Session(graph=graph, config=one_thread)

    def input_size(self):
        """Numbers in one input, where the graph says so, else None."""
        shape = self._input.shape
        return shape.as_list()[-1] if shape.rank == 2 else None

    def __call__(self, batch):
        """Returns the output for a batch of inputs.

        Raises:
          SubmissionError: the graph fails on this batch.
        """
        try:
            return np.asarray(self._session.run(self._output, {self._input: batch}))
        except _REFUSALS as error:
            raise SubmissionError(
                f"the {self._role.name} fails on a batch of shape {list(batch.shape)}: {first_line(error)}"
            ) from None
