"""Makes the optimizers that `--optimizer` names."""

import inspect

import keras
import tensorflow as tf

from gan.errors import InputError

# TF1's names that are not today's with "Optimizer" behind.
_TF1_NAMES = {"GradientDescent": "SGD", "RMSProp": "RMSprop"}
_WRAPPERS = ("Optimizer", "LossScaleOptimizer", "Muon", "MultiOptimizer", "OptimizerMap")


def make(options, variables):
    """Returns a new Keras optimizer for these variables; TF1's names (AdamOptimizer, ...) work as well.

    With `--mixed_precision=float16` it scales the loss, so that small gradients do not vanish, and leaves out a step
    whose gradients overflowed.

    Args:
      options: `TrainOptions`.
      variables: what it updates.

    Raises:
      InputError: no such optimizer.
    """
    name = options.optimizer.removesuffix("Optimizer")
    name = _TF1_NAMES.get(name, name)
    if name not in _names():
        raise InputError(f"--optimizer={options.optimizer}: no such optimizer; there are: {', '.join(_names())}")
    optimizer_class = Adam if name == "Adam" else getattr(keras.optimizers, name)
    known = inspect.signature(optimizer_class).parameters
    settings = {"beta_1": options.adam_beta1, "beta_2": options.adam_beta2}
    optimizer = optimizer_class(
        learning_rate=options.base_learning_rate,
        **{setting: value for setting, value in settings.items() if setting in known},
    )
    if options.mixed_precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


class Adam(keras.optimizers.Adam):
    """Keras's, which updates each variable by one kernel, not by fifteen: the same numbers but for their rounding."""

    def update_step(self, gradient, variable, learning_rate):
        place = self._get_variable_index(variable)
        dtype, steps = variable.dtype, tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=beta_1**steps,
            beta2_power=beta_2**steps,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


def _names():
    found = vars(keras.optimizers).items()
    return sorted(name for name, value in found if inspect.isclass(value) and name not in _WRAPPERS)
