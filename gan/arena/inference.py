"""Runs a frozen model on arrays."""

import numpy as np
import tensorflow as tf

from gan.arena.subgraph import SubmissionError
from gan.errors import first_line


class Inference:
    """A `submission.FrozenModel` as a function of arrays.

    Raises:
      SubmissionError: TensorFlow does not accept the graph.
    """

    def __init__(self, model):
        self._model = model
        graph = tf.Graph()
        try:
            with graph.as_default():
                tf.graph_util.import_graph_def(model.graph_def, name="")
            self._input, self._output = (graph.get_tensor_by_name(name) for name in (model.input, model.output))
        except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
            raise SubmissionError(f"{model.role.name}: the graph cannot be built ({first_line(error)})") from None
        self._session = tf.compat.v1.Session(graph=graph)

    def input_size(self):
        """Numbers in one input, where the graph says so, else None."""
        shape = self._input.shape
        return shape[-1] if shape.rank == 2 else None

    def __call__(self, batch):
        """Returns the output for a batch of inputs.

        Raises:
          SubmissionError: the graph fails on this batch.
        """
        try:
            return np.asarray(self._session.run(self._output, {self._input: batch}))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise SubmissionError(
                f"the {self._model.role.name} fails on a batch of shape {list(batch.shape)}: {first_line(error)}"
            ) from None
