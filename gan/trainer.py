"""The two networks, their optimizers and the step that trains them."""

import inspect

import keras
import numpy as np
import tensorflow as tf

from gan import class_lookup, export_model, losses, model_builder, spec, training_state
from gan.errors import InputError


class Trainer:
    """The two networks, their optimizers and the training step.

    Args:
      options: `TrainOptions`.
      image_shape: (height, width, channels).
    """

    def __init__(self, options, image_shape):
        self._options = options
        self.contest = spec.ContestSpec(*image_shape, options.latent_size)
        self.loss = class_lookup.find(options.label_loss, "gan.losses", losses.BaseLoss, "label_loss")()
        self.generator, self.discriminator = model_builder.build_pair(
            options.generator_model, options.discriminator_model, self.contest, options.feature_size, options.seed
        )
        self._generator_optimizer = make_optimizer(options)
        self._generator_optimizer.build(self.generator.trainable_variables)
        self._discriminator_optimizer = make_optimizer(options)
        self._discriminator_optimizer.build(self.discriminator.trainable_variables)
        with class_lookup.blaming("the training step"):
            self._step = tf.function(self._train_step, autograph=False).get_concrete_function(
                tf.TensorSpec([options.batch_size, self.contest.image_size], tf.float32),
                tf.TensorSpec([options.batch_size, options.latent_size], tf.float32),
            )

    def step(self, images, noise, learning_rate):
        """Updates D, then G.

        Args:
          images: real images, float32 [batch_size, height * width * channels] in [0, 1].
          noise: float32 [batch_size, latent_size].
          learning_rate: for both optimizers.

        Returns:
          {"g_loss", "d_loss", "d_accuracy_on_generated", "d_accuracy_on_real"} as floats.
        """
        for optimizer in (self._generator_optimizer, self._discriminator_optimizer):
            optimizer.learning_rate = learning_rate
        metrics = self._step(tf.constant(images), tf.constant(noise))
        return {name: float(value) for name, value in metrics.items()}

    def _train_step(self, images, noise):
        """One pass of G serves both updates: D learns from its images, then G learns from the updated D."""
        g, d = self.generator, self.discriminator
        with tf.GradientTape(watch_accessed_variables=False) as g_tape:
            g_tape.watch([v.value for v in g.trainable_variables])
            generated = g(noise, training=True)["output"]

            with g_tape.stop_recording(), tf.GradientTape(watch_accessed_variables=False) as d_tape:
                d_tape.watch([v.value for v in d.trainable_variables])
                on_real = d(images, training=True)
                on_generated = d(generated, training=True)
                d_loss = self._scalar(self.loss.discriminator_loss(on_real, on_generated)) + self._penalty(d)
            with g_tape.stop_recording():
                self._update(self._discriminator_optimizer, d_tape, d_loss, d.trainable_variables)

            g_loss = self._scalar(self.loss.generator_loss(on_real, d(generated, training=True))) + self._penalty(g)
        self._update(self._generator_optimizer, g_tape, g_loss, g.trainable_variables)
        return {
            "g_loss": g_loss,
            "d_loss": d_loss,
            "d_accuracy_on_generated": _fraction(~spec.is_real(on_generated["predictions"])),
            "d_accuracy_on_real": _fraction(spec.is_real(on_real["predictions"])),
        }

    def _scalar(self, loss):
        loss = tf.convert_to_tensor(loss)
        if loss.shape.rank != 0:
            name = type(self.loss).__name__
            raise InputError(
                f"{name} returned a loss of shape {loss.shape}, not a scalar: take its mean over the batch"
            )
        return loss

    def _penalty(self, model):
        return self._options.regularization_penalty * sum(model.losses) if model.losses else 0.0

    def _update(self, optimizer, tape, loss, variables):
        if not variables:  # a network without weights has nothing to learn
            return
        gradients = tape.gradient(loss, [v.value for v in variables])
        if self._options.clip_gradient_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._options.clip_gradient_norm)
        optimizer.apply(gradients, variables)

    def generate(self, noise):
        """Returns the images that G makes of latent vectors, as it would in a battle: float32 [N, D] in [0, 1]."""
        return np.asarray(self.generator(noise, training=False)["output"])

    def variables(self):
        """Returns {name: variable}: everything that a training step reads or writes."""
        named = training_state.name_variables(
            {
                "generator": self.generator.variables,
                "discriminator": self.discriminator.variables,
                "generator_optimizer": self._generator_optimizer.variables,
                "discriminator_optimizer": self._discriminator_optimizer.variables,
            }
        )
        known = {id(variable) for variable in named.values()}
        # What else the traced step touches, such as the state of a random generator that no layer owns.
        others = [
            variable for variable in export_model.captured_variables(self._step.graph) if id(variable) not in known
        ]
        return named | {f"other/{i:03}": variable for i, variable in enumerate(others)}

    def unrepeatable_ops(self):
        """Returns random operations whose state TensorFlow keeps to itself, so that no save can hold it."""
        graph = self._step.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        stateful = ("Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial", "PyFunc", "EagerPyFunc")
        return sorted({node.op for node in nodes if node.op.startswith(stateful)})


def _fraction(booleans):
    return tf.reduce_mean(tf.cast(booleans, tf.float32))


def make_optimizer(options):
    """Returns a new Keras optimizer; TF1's names (AdamOptimizer, GradientDescentOptimizer) work as well."""
    name = options.optimizer.removesuffix("Optimizer")
    name = {"GradientDescent": "SGD", "RMSProp": "RMSprop"}.get(name, name)
    optimizer_class = getattr(keras.optimizers, name, None)
    if not inspect.isclass(optimizer_class) or name not in _optimizer_names():
        raise InputError(
            f"--optimizer={options.optimizer}: no such optimizer; there are: {', '.join(_optimizer_names())}"
        )
    settings = {"learning_rate": options.base_learning_rate}
    if "beta_1" in inspect.signature(optimizer_class).parameters:
        settings["beta_1"] = options.adam_beta1
    return optimizer_class(**settings)


def _optimizer_names():
    optimizers = vars(keras.optimizers)
    wrappers = ("Optimizer", "LossScaleOptimizer", "Muon", "MultiOptimizer", "OptimizerMap")
    return sorted(name for name, value in optimizers.items() if inspect.isclass(value) and name not in wrappers)
