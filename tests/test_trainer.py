"""The training step, looked at from outside: what it does to weights, averages and probabilities."""

import sys

import keras
import numpy as np
import pytest
from conftest import sample_options

from gan import losses, models, trainer
from gan.errors import InputError

SHAPE = (28, 28, 1)


def step(networks, options, number=0, seed=0, labels=None, rate=None):
    rng = np.random.default_rng(seed)
    images = rng.random((options.batch_size, 784), np.float32)
    noise = rng.uniform(-1, 1, (options.batch_size, options.latent_size)).astype(np.float32)
    return networks.step(number, images, noise, rate or options.base_learning_rate, labels)


def weights(model):
    return [variable.numpy() for variable in model.variables]


def distance(before, after):
    return np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(before, after, strict=True)))


class RecordingPenalty(losses.BasePenalty):
    """Pushes the logits of real images up, so that its strength shows in D's last bias."""

    def calculate_penalty(self, critic, real, generated, uniform):
        return -keras.ops.mean(critic(real))


@pytest.fixture
def recording(monkeypatch):
    monkeypatch.setattr(losses, "RecordingPenalty", RecordingPenalty, raising=False)
    return {
        "gradient_penalties": "RecordingPenalty",
        "optimizer": "SGD",
        "base_learning_rate": 1.0,
        "clip_gradient_norm": 0.0,
        "batch_size": 4,
    }


def bias_changes(options, steps):
    """How far each step moves D's last bias beyond what the same step without penalties does."""
    moved = []
    for number in range(steps):
        biases = []
        for settings in (options, {**options, "gradient_penalties": ""}):
            chosen = sample_options(**settings)
            networks = trainer.Trainer(chosen, SHAPE)
            before = networks.discriminator.trainable_variables[-1].numpy()
            step(networks, chosen, number)
            biases.append(networks.discriminator.trainable_variables[-1].numpy() - before)
        moved.append(float(biases[0][0] - biases[1][0]))
    return moved


def test_a_lazy_penalty_comes_every_kth_step_k_times_as_strong(recording):
    always = bias_changes({**recording, "gradient_penalty_weight": 0.5}, 1)
    np.testing.assert_allclose(always, [0.5], atol=1e-5)
    lazy = bias_changes({**recording, "gradient_penalty_weight": 0.5, "gradient_penalty_interval": 3}, 4)
    np.testing.assert_allclose(lazy, [1.5, 0, 0, 1.5], atol=1e-5)


def test_penalties_add_up(recording):
    both = {**recording, "gradient_penalties": "RecordingPenalty,RecordingPenalty"}
    np.testing.assert_allclose(bias_changes(both, 1), [2.0], atol=1e-5)


def test_d_learns_at_a_rate_of_its_own():
    settings = {"optimizer": "SGD", "clip_gradient_norm": 1e-3, "batch_size": 8, "discriminator_rate_factor": 5.0}
    options = sample_options(**settings)
    networks = trainer.Trainer(options, SHAPE)
    before = weights(networks.generator), weights(networks.discriminator)
    step(networks, options, rate=1.0)
    assert distance(before[0], weights(networks.generator)) == pytest.approx(1e-3, rel=0.02)
    assert distance(before[1], weights(networks.discriminator)) == pytest.approx(5e-3, rel=0.02)


def test_what_battles_is_the_average_of_g():
    options = sample_options(average_half_life=10_000, batch_size=8, base_learning_rate=0.01)
    networks = trainer.Trainer(options, SHAPE)
    pair = networks.current_pair()
    initial = weights(pair.generator)
    for number in range(1000, 1005):
        step(networks, options, number)
    averaged = weights(networks.current_pair().generator)
    assert 0 < distance(initial, averaged) < 0.2 * distance(initial, weights(networks.generator))
    assert distance(weights(pair.discriminator), weights(networks.discriminator)) == 0


def test_the_adaptive_probability_follows_d():
    """D puts all real images over 0 or none, so that the probability rises or falls by 50 / 100,000 a step."""
    options = sample_options(
        adaptive_augmentation_target=0.6, augmentations="Cutout", batch_size=50, base_learning_rate=1e-9
    )
    networks = trainer.Trainer(options, SHAPE)
    probability = networks.variables()["augmentation/000/probability"]
    bias = networks.discriminator.trainable_variables[-1]
    for value, expected in ((100.0, 0.0005), (100.0, 0.001), (-100.0, 0.0005), (-100.0, 0.0), (-100.0, 0.0)):
        bias.assign([value])
        told = step(networks, options)["augmentation_probability"]
        assert float(probability.numpy()) == told == pytest.approx(expected, abs=1e-7)


def test_a_critic_is_judged_by_the_middle_of_its_logits():
    """An offset of all logits means nothing to it, and changes nothing about what is reported."""
    found = []
    for offset in (0.0, 50.0):
        options = sample_options(label_loss="WassersteinLoss", batch_size=32)
        networks = trainer.Trainer(options, SHAPE)
        bias = networks.discriminator.trainable_variables[-1]
        bias.assign(bias + offset)
        found.append(step(networks, options))
    for name in ("d_accuracy_on_generated", "d_accuracy_on_real"):
        assert 0 < found[0][name] == found[1][name] < 1


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_mixed_precision_trains_like_float32(precision):
    losses_found = {}
    for mixed in ("none", precision):
        options = sample_options(mixed_precision=mixed, batch_size=16, clip_gradient_norm=1.0)
        networks = trainer.Trainer(options, SHAPE)
        assert {variable.dtype for variable in networks.generator.trainable_variables} == {"float32"}
        losses_found[mixed] = [step(networks, options, number, seed=number)["d_loss"] for number in range(10)]
    assert losses_found["none"] != losses_found[precision]
    np.testing.assert_allclose(losses_found["none"], losses_found[precision], rtol=0.05, atol=0.02)


def test_float16_skips_what_overflows():
    options = sample_options(
        mixed_precision="float16", optimizer="SGD", base_learning_rate=1.0, clip_gradient_norm=0.0, batch_size=4
    )
    networks = trainer.Trainer(options, SHAPE)
    scale = next(v for name, v in networks.variables().items() if "generator_optimizer" in name and "scale" in name)
    assert float(scale.numpy()) == 2.0**15
    before = weights(networks.generator)
    scale.assign(np.float32(3e38))
    step(networks, options)
    assert distance(before, weights(networks.generator)) == 0.0
    assert float(scale.numpy()) < 3e38


class FaintLoss(losses.HingeLoss):
    """Its gradients vanish in float16, where the smallest number is 6e-8, unless the loss is scaled."""

    def discriminator_loss(self, real, generated):
        return 1e-7 * super().discriminator_loss(real, generated)

    def generator_loss(self, real, generated):
        return 1e-7 * super().generator_loss(real, generated)


@pytest.mark.parametrize("penalties", ["", "R1Penalty"])
def test_float16_scales_the_loss(penalties, monkeypatch):
    monkeypatch.setattr(losses, "FaintLoss", FaintLoss, raising=False)
    moved = {}
    for mixed in ("none", "float16"):
        options = sample_options(
            **{"label_loss": "FaintLoss", "mixed_precision": mixed, "optimizer": "SGD", "base_learning_rate": 1e6},
            **{"gradient_penalties": penalties, "gradient_penalty_weight": 1e-7, "batch_size": 4},
            clip_gradient_norm=0.0,
        )
        networks = trainer.Trainer(options, SHAPE)
        before = weights(networks.generator), weights(networks.discriminator)
        step(networks, options)
        moved[mixed] = [
            distance(*pair)
            for pair in zip(before, (weights(networks.generator), weights(networks.discriminator)), strict=True)
        ]
    np.testing.assert_allclose(moved["float16"], moved["none"], rtol=0.05)
    assert min(moved["none"]) > 1e-4


def test_what_battles_computes_in_float32():
    networks = trainer.Trainer(sample_options(mixed_precision="bfloat16"), SHAPE)
    pair = networks.current_pair()
    policies = {layer.dtype_policy.name for model in (pair.generator, pair.discriminator) for layer in model.layers}
    assert policies == {"float32"}


def test_conditional_models_train_on_labels():
    options = sample_options(
        generator_model="ConditionalDCGANGenerator",
        discriminator_model="ConditionalDCGANDiscriminator",
        feature_size=4,
        batch_size=8,
    )
    networks = trainer.Trainer(options, SHAPE, num_classes=10)
    projection = next(v for v in networks.discriminator.trainable_variables if v.shape[-1] == 10)
    before = projection.numpy()
    noise = np.full((8, 100), -0.99, np.float32)  # the last number of z says class 0
    networks.step(0, np.zeros((8, 784), np.float32), noise, 0.01, np.full(8, 3, np.int32))
    changed = np.any(projection.numpy() != before, axis=0)
    assert changed.tolist() == [number in (0, 3) for number in range(10)]  # of the generated images, of the real ones


def test_conditional_models_need_labels_and_each_other():
    conditional, plain = "ConditionalDCGANGenerator", "DCGANDiscriminator"
    with pytest.raises(InputError, match="learns from labels; these images have none"):
        trainer.Trainer(sample_options(generator_model=conditional), SHAPE)
    with pytest.raises(InputError, match="one learns from labels and the other does not"):
        trainer.Trainer(sample_options(generator_model=conditional, discriminator_model=plain), SHAPE, num_classes=10)


@pytest.mark.parametrize(
    "labels, words",
    [
        ("None", "labels are object .*, not the integer class of each image"),
        ("keras.ops.zeros((len(model_input), 1), 'int32')", r"labels are int32 \[4, 1\], not the integer class"),
        ("model_input[:, 0]", "labels are float32"),
        ("keras.ops.full((len(model_input),), 10, 'int32')", "labels go from 10 to 10, not from 0 to 9"),
    ],
)
def test_a_conditional_generator_says_which_classes_it_drew(labels, words, tmp_path, monkeypatch):
    (tmp_path / "my_conditional.py").write_text(
        "import keras\nfrom gan import models\nclass Mine(models.SampleGenerator):\n    uses_labels = True\n"
        "    def run_model(self, model_input, is_training=True):\n"
        f"        return dict(super().run_model(model_input), labels={labels})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_conditional", raising=False)
    names = {"generator_model": "my_conditional.Mine", "discriminator_model": "ConditionalDCGANDiscriminator"}
    with pytest.raises(InputError, match=f"Mine: {words}"):
        trainer.Trainer(sample_options(**names), SHAPE, num_classes=10)


def test_wrong_names_list_the_right_ones():
    for flag, words in (
        ("gradient_penalties", "gan.losses has: R1Penalty, R2Penalty, WassersteinPenalty"),
        ("augmentations", "gan.augmentation has: BrightnessContrast, Cutout, Translation"),
    ):
        with pytest.raises(InputError, match=f"--{flag}=Nope: no such class; {words}"):
            trainer.Trainer(sample_options(**{flag: "Nope"}), SHAPE)


def test_every_model_of_the_package_that_uses_no_labels_is_a_pair():
    names = [name for name, value in vars(models).items() if getattr(value, "uses_labels", None) is not None]
    assert {name.replace("Generator", "Discriminator") for name in names if name.endswith("Generator")} <= set(names)
