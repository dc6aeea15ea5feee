import numpy as np
import pytest

from gan import model_builder, random_noise_generator, spec
from gan.errors import InputError

DIGITS = spec.ContestSpec(28, 28, 1)


def build(generator="SampleGenerator", discriminator="SampleDiscriminator", contest=DIGITS, seed=0):
    return model_builder.build_pair(generator, discriminator, contest, feature_size=4, seed=seed)


def weights(model):
    return [variable.numpy() for variable in model.variables]


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (37, 50), (50, 50), (63, 41), (64, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_makes_exactly_the_size_asked_for(size, channels):
    contest = spec.ContestSpec(*size, channels, latent_size=7)
    generator, discriminator = build("DCGANGenerator", "DCGANDiscriminator", contest)
    images = np.asarray(generator(random_noise_generator.generate_noise(3, 7))["output"])
    assert spec.image_fault(images, 3, contest) is None
    assert discriminator(images)["predictions"].shape == (3, 1)


def test_dcgan_starts_from_the_published_weights():
    generator, discriminator = model_builder.build_pair(
        "DCGANGenerator", "DCGANDiscriminator", spec.ContestSpec(), feature_size=16, seed=1
    )
    for model in (generator, discriminator):
        for variable in model.trainable_variables:
            values, name = variable.numpy(), variable.name
            if name == "kernel" and values.size > 1000:
                assert (abs(values.mean()), values.std()) == pytest.approx((0, 0.02), abs=0.003)
            elif name == "gamma":
                assert values.mean() == pytest.approx(1, abs=0.03)
            elif name in ("beta", "bias"):
                assert not values.any()


def test_dcgan_has_the_published_layers_at_50x50():
    generator, discriminator = model_builder.build_pair(
        "DCGANGenerator", "DCGANDiscriminator", spec.ContestSpec(), feature_size=64, seed=0
    )
    kernels = [variable.shape for variable in generator.trainable_variables if variable.name == "kernel"]
    assert kernels == [(100, 7 * 7 * 256), (5, 5, 128, 256), (5, 5, 64, 128), (5, 5, 1, 64)]
    kernels = [variable.shape for variable in discriminator.trainable_variables if variable.name == "kernel"]
    assert kernels == [(5, 5, 1, 64), (5, 5, 64, 128), (5, 5, 128, 256), (7 * 7 * 256, 1)]


def test_the_seed_decides_the_weights():
    first, again, other = build(seed=5), build(seed=5), build(seed=6)
    for model, same in zip(first, again, strict=True):
        for a, b in zip(weights(model), weights(same), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(first[0])[0], weights(other[0])[0])


def test_the_check_leaves_no_trace():
    generator, _ = build("my_models.NoisyGenerator")
    moving = {variable.name: variable.numpy() for variable in generator.non_trainable_variables}
    assert not moving["moving_mean"].any()
    np.testing.assert_array_equal(moving["moving_variance"], 1)


def test_layers_in_lists_and_dicts_are_trained():
    generator, _ = build("my_models.NoisyGenerator")
    assert len(generator.trainable_variables) == 6


@pytest.mark.parametrize(
    "generator, words",
    [
        ("NoGenerator", "no such class; gan.models has: DCGANDiscriminator, DCGANGenerator, SampleDiscriminator"),
        ("BaseModel", "--generator_model=BaseModel: no such class"),
        ("my_models.ConstantGenerator", r"shape \[4, 784\], not \[3, 784\]: the batch size seems to be fixed"),
        ("my_models.ExitingGenerator", "run_model failed: SystemExit"),
        ("my_models.NoGenerator", "no such class; my_models has: BrokenGenerator"),
        ("my_models.NotAModel", "NotAModel does not extend BaseModel"),
        ("no_such_module.X", "import of no_such_module failed: ModuleNotFoundError: No module named 'no_such_module'$"),
        ("my_models.TanhGenerator", r"TanhGenerator: images lie in .*tanh: map it with \(x \+ 1\) / 2"),
        ("my_models.SquareGenerator", r"shape \[4, 28, 28, 1\], not \[4, 784\]: flatten"),
        ("my_models.FixedBatchGenerator", r"shape \[128, 784\], not \[4, 784\]: the batch size seems to be fixed"),
        (
            "my_models.BrokenGenerator",
            r"BrokenGenerator.run_model failed: AttributeError: .*'no_such_layer' \(.*my_models.py, line",
        ),
        ("SampleDiscriminator", "run_model returned .*expected a dict with .*output"),
    ],
)
def test_a_wrong_generator_fails_at_once(generator, words):
    with pytest.raises(InputError, match=words):
        build(generator=generator)


@pytest.mark.parametrize(
    "discriminator, words",
    [
        (
            "my_models.LogitDiscriminator",
            "predictions are the logits themselves: apply a sigmoid|these look like logits",
        ),
        ("my_models.ForgetfulDiscriminator", "expected a dict with .*logits.*predictions"),
        ("SampleGenerator", "expected a dict"),
    ],
)
def test_a_wrong_discriminator_fails_at_once(discriminator, words):
    with pytest.raises(InputError, match=words):
        build(discriminator=discriminator)
