"""The two networks, their optimizers and the step that trains them."""

import contextlib
import dataclasses

import keras
import tensorflow as tf

from gan import (
    augmentation,
    averages,
    battle_pair,
    class_lookup,
    digits,
    distribution,
    export_model,
    guard,
    losses,
    model_builder,
    negatives,
    optimizers,
    seeds,
    shared_pass,
    spec,
    training_state,
)
from gan.errors import InputError

# In which the probability of augmentation can go from 0 to 1; the paper has 500,000, and trains a hundred times longer.
_ADAPTATION_IMAGES = 100_000


class Trainer:
    """The two networks, their optimizers and the training step.

    Args:
      options: `TrainOptions`.
      image_shape: (height, width, channels).
      num_classes: of the images, see `readers.class_numbers`; 0 without labels.
      devices: the `distribution.Devices` that train; None for one.

    Attributes:
      contest: the `spec.ContestSpec`.
      loss: the `losses.BaseLoss`.
      generator, discriminator: the networks that are trained.
      flips: whether real images are mirrored at random.
    """

    def __init__(self, options, image_shape, num_classes=0, devices=None):
        self._options = options
        self._devices = devices or distribution.Devices()
        self.contest = spec.ContestSpec(*image_shape, options.latent_size)
        self.loss = class_lookup.make(
            class_lookup.find(options.label_loss, "gan.losses", losses.BaseLoss, "label_loss")
        )
        self._penalties = class_lookup.make_all(
            options.gradient_penalties, "gan.losses", losses.BasePenalty, "gradient_penalties"
        )
        augmentations = class_lookup.make_all(
            options.augmentations, "gan.augmentation", augmentation.BaseAugmentation, "augmentations"
        )
        self._augment = augmentation.Pipeline(augmentations, image_shape)
        kinds = class_lookup.make_all(options.negatives, "gan.negatives", negatives.BaseNegative, "negatives")
        wanted = options.horizontal_flip
        self.flips = tuple(image_shape) != digits.SHAPE if wanted is None else wanted
        # The pair that battles lives in this process alone, and so does the guard. They come first, so that what Keras
        # makes for all networks, such as its random generator, belongs to those that are trained, and to all devices.
        self._battle_pair = battle_pair.BattlePair(
            *self._build("none", num_classes),
            bool(options.held_out_images),
            guard.build_network(self.contest, options.seed) if kinds else None,
        )
        self._guard = guard.Guard(kinds, self.contest, options) if kinds else None
        self.generator, self.discriminator = self._build(options.mixed_precision, num_classes, self._devices.scope)
        if self._devices.replicas > 1:
            model_builder.synchronise_batch_norms(self.generator)
            model_builder.synchronise_batch_norms(self.discriminator)
        with self._devices.scope():
            self._generator_optimizer = optimizers.make(options, self.generator.trainable_variables)
            self._discriminator_optimizer = optimizers.make(options, self.discriminator.trainable_variables)
            adaptive = options.adaptive_augmentation_target is not None
            self._augmentation_probability = keras.Variable(
                0.0 if adaptive else options.augmentation_probability, trainable=False, name="probability"
            )
        if options.shared_pass:
            self._check_shared_pass()
        trained = {"generator": self.generator, "discriminator": self.discriminator}
        if self._guard:
            trained["guard"] = self._guard.network
        self._averages = averages.Averages(trained, self._battle_pair.networks, options)
        with class_lookup.blaming("the training step"):
            self._steps = {penalised: self._trace(penalised) for penalised in self._kinds_of_steps()}
        self._devices.part_seeds(self.variables().values())

    def _build(self, mixed_precision, num_classes, scope=contextlib.nullcontext):
        options = self._options
        return model_builder.build_pair(
            options.generator_model,
            options.discriminator_model,
            self.contest,
            options.feature_size,
            options.seed,
            num_classes,
            mixed_precision,
            scope,
        )

    def _check_shared_pass(self):
        if self._options.mixed_precision == "float16":
            raise InputError(
                "--shared_pass needs smaller numbers than --mixed_precision=float16 has; bfloat16 has them"
            )
        seed = seeds.derive(self._options.seed, "shared_pass")
        shared_pass.check(self._battle_pair.discriminator, self.contest.image_size, seed)

    def _kinds_of_steps(self):
        """Whether there are steps with gradient penalties, and steps without."""
        if not self._penalties:
            return (False,)
        return (True,) if self._options.gradient_penalty_interval == 1 else (True, False)

    def _trace(self, penalised):
        size = self._options.batch_size

        def step(images, labels, noise, seed, memory):
            metrics = self._devices.run(
                self._train_step, penalised=penalised, images=images, labels=labels, noise=noise, seed=seed
            )
            self._averages.move(memory)
            return metrics

        return tf.function(step, autograph=False).get_concrete_function(
            images=tf.TensorSpec([size, self.contest.image_size], tf.float32),
            labels=tf.TensorSpec([size], tf.int32),
            noise=tf.TensorSpec([size, self._options.latent_size], tf.float32),
            seed=tf.TensorSpec([2], tf.int32),
            memory=tf.TensorSpec([], tf.float32),
        )

    def step(self, number, images, noise, learning_rate, labels=None):
        """Updates D, then G, then what battles.

        Args:
          number: of the step, from 0.
          images: real images, float32 [batch_size, height * width * channels] in [0, 1].
          noise: float32 [batch_size, latent_size].
          learning_rate: of G; D's is `--discriminator_rate_factor` times as large.
          labels: class numbers, int32 [batch_size], for conditional models.

        Returns:
          {"g_loss", "d_loss", "d_accuracy_on_generated", "d_accuracy_on_real"} as floats, and the
          "augmentation_probability" where it adapts.
        """
        options = self._options
        self._generator_optimizer.learning_rate = learning_rate
        self._discriminator_optimizer.learning_rate = learning_rate * options.discriminator_rate_factor
        penalised = bool(self._penalties) and number % options.gradient_penalty_interval == 0
        if self._guard and number % guard.EVERY == 0:
            self._guard.learn(images, seeds.generator(options.seed, "guard", number).integers(2**31, size=2))
        return self._devices.call(
            self._steps[penalised],
            images=tf.constant(images),
            labels=tf.zeros([len(images)], tf.int32) if labels is None else tf.constant(labels, tf.int32),
            noise=tf.constant(noise),
            seed=tf.constant(seeds.generator(options.seed, "step", number).integers(2**31, size=2), tf.int32),
            memory=tf.constant(self._averages.memory(number), tf.float32),
        )

    def restore(self, arrays):
        """Takes up training where it was saved.

        Args:
          arrays: {name: array}, of `variables`.
        """
        training_state.assign(self.variables(), arrays)
        if self._options.adaptive_augmentation_target is None:  # then it is a flag, which may have changed
            self._augmentation_probability.assign(self._options.augmentation_probability)
        self._devices.part_seeds(self.variables().values())

    def current_pair(self):
        """Brings the pair that battles up to the newest step and returns it, a `battle_pair.BattlePair`."""
        self._averages.catch_up()
        return self._battle_pair

    def _train_step(self, penalised, images, labels, noise, seed):
        """Updates both networks and returns what is reported of it.

        Every device makes this step, with its rows of the batch, up to D's answers. These are gathered: the losses, and
        what is reported, are those of the whole batch on every device.
        """
        devices = self._devices
        flip_seed, *shown_seeds, penalty_seed = tf.unstack(tf.random.split(seed, 5))
        if self.flips:
            images = augmentation.flip_half(images, self.contest.image_shape, flip_seed)
        batch = _Batch(
            real=devices.rows(images),
            labels=devices.rows(labels) if self.discriminator.uses_labels else None,
            noise=devices.rows(noise),
            shown_seeds=shown_seeds,
            penalty_seed=penalty_seed if penalised else None,
        )
        update = self._update_at_once if self._options.shared_pass else self._update_in_turn
        d_loss, g_loss, on_real, on_fake = update(batch)
        # Only the penalties differ between devices.
        metrics = {"g_loss": g_loss, "d_loss": devices.sum(devices.part(d_loss))} | self._accuracies(on_real, on_fake)
        if self._options.adaptive_augmentation_target is not None:
            self._adapt_augmentation(on_real["logits"] - self._middle(on_real, on_fake))
            metrics["augmentation_probability"] = tf.identity(self._augmentation_probability.value)
        return metrics

    def _update_in_turn(self, batch):
        """One pass of G serves both updates: D learns from its images, then G learns from the updated D."""
        g, d = self.generator, self.discriminator
        with tf.GradientTape(watch_accessed_variables=False) as g_tape:
            g_tape.watch(_values(g))
            made = g(batch.noise, training=True)
            generated, made_labels = made["output"], made.get("labels")

            with g_tape.stop_recording(), tf.GradientTape(watch_accessed_variables=False) as d_tape:
                d_tape.watch(_values(d))
                shown_real, shown_fake = self._shown_to_d(batch, generated)
                on_real = self._answers(shown_real, batch.labels)
                on_fake = self._answers(shown_fake, made_labels)
                d_loss = losses.scalar(self.loss, self.loss.discriminator_loss(on_real, on_fake))
                d_loss += self._layer_penalty(d) + self._gradient_penalty(shown_real, shown_fake, batch.penalty_seed)
            with g_tape.stop_recording():
                self._learn(d, self._discriminator_optimizer, d_tape, d_loss)

            on_update = self._answers(self._shown(generated, batch.shown_seeds[2]), made_labels)
            g_loss = losses.scalar(self.loss, self.loss.generator_loss(on_real, on_update))
            g_loss += self._layer_penalty(g)
        self._learn(g, self._generator_optimizer, g_tape, g_loss)
        return d_loss, g_loss, on_real, on_fake

    def _update_at_once(self, batch):
        """One pass of each network serves both updates: both learn from D as it was, see `shared_pass`."""
        g, d, devices = self.generator, self.discriminator, self._devices
        with tf.GradientTape(watch_accessed_variables=False) as g_tape:
            g_tape.watch(_values(g))
            made = g(batch.noise, training=True)
            shown_real, shown_fake = self._shown_to_d(batch, made["output"])
            g_penalty = self._layer_penalty(g)
        with tf.GradientTape(watch_accessed_variables=False) as d_tape:
            shown = tf.concat([shown_real, shown_fake], axis=0)
            d_tape.watch([*_values(d), shown])
            labels = None if batch.labels is None else tf.concat([batch.labels, made["labels"]], axis=0)
            logits = tf.cast(d(shown, training=True, labels=labels)["logits"], tf.float32)
            d_penalty = self._layer_penalty(d) + self._gradient_penalty(shown_real, shown_fake, batch.penalty_seed)
        real, fake = (devices.gather(half) for half in tf.split(logits, 2))
        signals = shared_pass.signals(self.loss, real, fake)

        entering = tf.concat([devices.rows(signals.real), devices.rows(signals.generated)], axis=0)
        *d_gradients, by_shown = d_tape.gradient(
            [logits, d_penalty], [*_values(d), shown], output_gradients=[entering, devices.part(tf.ones([]))]
        )
        by_fake = tf.split(by_shown, 2)[1] * devices.rows(signals.ratio)
        g_gradients = g_tape.gradient(
            [shown_fake, g_penalty], _values(g), output_gradients=[by_fake, devices.part(tf.ones([]))]
        )
        self._apply(self._discriminator_optimizer, d_gradients, d.trainable_variables)
        self._apply(self._generator_optimizer, g_gradients, g.trainable_variables)
        on_real, on_fake = shared_pass.outputs(real), shared_pass.outputs(fake)
        return signals.d_loss + d_penalty, signals.g_loss + g_penalty, on_real, on_fake

    def _shown_to_d(self, batch, generated):
        """Returns (real images, generated ones) as D sees them when it learns."""
        return self._shown(batch.real, batch.shown_seeds[0]), self._shown(generated, batch.shown_seeds[1])

    def _shown(self, images, seed):
        """Returns the images as D sees them, changed by the draws that are theirs in the whole batch."""
        probability = self._augmentation_probability.value
        return self._devices.rows(self._augment(self._devices.in_place(images), probability, seed))

    def _answers(self, images, labels):
        """Returns D's outputs for the images of all devices."""
        outputs = self.discriminator(images, training=True, labels=labels)
        return {name: self._devices.gather(output) for name, output in outputs.items()}

    def _layer_penalty(self, model):
        return self._options.regularization_penalty * _sum(model.losses)

    def _gradient_penalty(self, real, generated, seed):
        """The penalties' sum; where they come in every k-th step alone, k times as strong.

        So Karras et al., "Analyzing and improving the image quality of StyleGAN" (2020), appendix B; the optimizer's
        rates stay as they are here. Without a seed, this is none of those steps.
        """
        if seed is None:
            return tf.zeros([])

        def critic(images):
            return self.discriminator(images, training=True)["logits"]

        def uniform(size):  # for the whole batch, as on one device
            return self._devices.rows(tf.random.stateless_uniform([self._options.batch_size, size], seed))

        penalties = [losses.scalar(p, p.calculate_penalty(critic, real, generated, uniform)) for p in self._penalties]
        return self._options.gradient_penalty_weight * self._options.gradient_penalty_interval * sum(penalties)

    def _learn(self, network, optimizer, tape, loss):
        # Float16 gradients come scaled up, and the optimizer scales them back; 1 everywhere else.
        scale = tf.convert_to_tensor(optimizer.scale_loss(tf.ones([])))
        gradients = tape.gradient(loss, _values(network), output_gradients=self._devices.part(scale))
        self._apply(optimizer, gradients, network.trainable_variables, scale)

    def _apply(self, optimizer, gradients, variables, scale=1.0):
        """Updates variables; every device hands in its part of the gradients, which come scaled."""
        if not variables:  # a network without weights has nothing to learn
            return
        # The optimizer sums over the devices what each of them hands in. Where somebody has to see the sum before that
        # (the optimizer itself for float16's overflows), each hands in a part of the sum.
        clip_norm = self._options.clip_gradient_norm
        sums_first = clip_norm or self._options.mixed_precision == "float16"
        if sums_first:
            gradients = self._devices.sum(gradients)
        if clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm * scale)
        if sums_first:
            gradients = self._devices.part(gradients)
        optimizer.apply(gradients, variables)

    def _adapt_augmentation(self, logits_on_real):
        """Moves the probability until the mean sign of D's logits on real images is the one that is aimed at.

        Karras et al., "Training generative adversarial networks with limited data" (2020, ADA), section 3, r_t.
        """
        excess = tf.reduce_mean(tf.sign(logits_on_real)) - self._options.adaptive_augmentation_target
        change = tf.sign(excess) * self._options.batch_size / _ADAPTATION_IMAGES
        probability = self._augmentation_probability
        probability.assign(tf.clip_by_value(probability + change, 0.0, 1.0))

    def _accuracies(self, on_real, on_generated):
        if self.loss.is_critic:  # right about an image is what puts it on the right side of the middle
            middle = self._middle(on_real, on_generated)
            right = on_real["logits"] > middle, on_generated["logits"] <= middle
        else:
            right = spec.is_real(on_real["predictions"]), ~spec.is_real(on_generated["predictions"])
        on_real, on_generated = (tf.reduce_mean(tf.cast(values, tf.float32)) for values in right)
        return {"d_accuracy_on_generated": on_generated, "d_accuracy_on_real": on_real}

    def _middle(self, on_real, on_generated):
        """Returns the logit at which D is undecided: a critic's lies between its answers."""
        if not self.loss.is_critic:
            return 0.0
        return (tf.reduce_mean(on_real["logits"]) + tf.reduce_mean(on_generated["logits"])) / 2

    def variables(self):
        """Returns {name: variable}: everything that a training step reads or writes."""
        named = training_state.name_variables(
            {
                "generator": self.generator.variables,
                "discriminator": self.discriminator.variables,
                "generator_optimizer": self._generator_optimizer.variables,
                "discriminator_optimizer": self._discriminator_optimizer.variables,
                **(self._guard.variables() if self._guard else {}),
                **self._averages.variables(),
                "augmentation": [self._augmentation_probability],
                "calibration": self._battle_pair.calibration.values(),
            }
        )
        known = {id(variable) for variable in named.values()}
        # What else the traced steps touch, such as the state of a random generator that no layer owns.
        touched = [
            self._devices.whole(variable)
            for step in self._traced()
            for variable in export_model.captured_variables(step.graph)
        ]
        others = {id(variable): variable for variable in touched if id(variable) not in known}
        return named | {f"other/{i:03}": variable for i, variable in enumerate(others.values())}

    def _traced(self):
        """Returns all traced training steps."""
        return [*self._steps.values(), *([self._guard.step] if self._guard else [])]

    def doubts(self, num_held_out):
        """Returns sentences about options that do not go together, or not with so few images.

        Args:
          num_held_out: images that no step sees.
        """
        options, found = self._options, []
        if options.adaptive_augmentation_target is not None and not options.augmentations:
            found.append("--adaptive_augmentation_target does nothing without --augmentations")
        if options.adaptive_augmentation_target is not None and options.augmentation_probability != 1.0:
            found.append("--augmentation_probability does nothing beside --adaptive_augmentation_target")
        if options.gradient_penalty_interval > 1 and not options.gradient_penalties:
            found.append("--gradient_penalty_interval does nothing without --gradient_penalties")
        if options.held_out_images and not num_held_out:
            found.append("these images are too few for --held_out_images: p is not fitted")
        if self.loss.is_critic and not num_held_out:
            found.append(f"{options.label_loss} has no threshold: p means nothing without --held_out_images")
        if isinstance(self.loss, losses.WassersteinLoss) and not options.gradient_penalties:
            found.append("WassersteinLoss needs --gradient_penalties=WassersteinPenalty")
        if options.gradient_penalties and self.discriminator.uses_labels:
            found.append("--gradient_penalties look at D as it answers without a class")
        norms = [v for v in self.discriminator.non_trainable_variables if v.name == "moving_mean"]
        if options.gradient_penalties and norms:
            found.append(
                f"batch normalisation in {options.discriminator_model} mixes the gradients that --gradient_penalties "
                "look at; PlainDiscriminator has none"
            )
        return found

    def unrepeatable_ops(self):
        """Returns random operations whose state TensorFlow keeps to itself, so that no save can hold it."""
        graphs = [step.graph.as_graph_def() for step in self._traced()]
        nodes = [node for graph in graphs for node in graph.node]
        nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
        stateful = ("Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial", "PyFunc", "EagerPyFunc")
        return sorted({node.op for node in nodes if node.op.startswith(stateful)})


@dataclasses.dataclass(frozen=True)
class _Batch:
    """What a device makes a step of: its rows of everything, [N, ...], and the draws of the whole batch.

    Attributes:
      real: images.
      labels: of them; None for networks without.
      noise: for G.
      shown_seeds: for the augmentation of the real images, of the generated ones, and of those that G learns from.
      penalty_seed: None in a step without gradient penalties.
    """

    real: tf.Tensor
    labels: tf.Tensor | None
    noise: tf.Tensor
    shown_seeds: list
    penalty_seed: tf.Tensor | None


def _sum(losses_of_layers):
    return tf.add_n([tf.zeros([])] + [tf.cast(loss, tf.float32) for loss in losses_of_layers])


def _values(network):
    return [variable.value for variable in network.trainable_variables]
