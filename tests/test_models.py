import keras
import numpy as np
import pytest
import tensorflow as tf

from gan import (
    battle_pair,
    class_lookup,
    export_model,
    model_builder,
    models,
    random_noise_generator,
    spec,
    storage,
)
from gan.errors import InputError

DIGITS = spec.ContestSpec(28, 28, 1)
NAMES = class_lookup.names_in(models, models.BaseModel)
PAIRS = sorted(name.removesuffix("Discriminator") for name in NAMES if name.endswith("Discriminator"))
every_pair = pytest.mark.parametrize("pair", PAIRS)
# Each size, gray and RGB; the quick ones have every size and every number of channels.
SHAPES = [
    *[(28, 28, 1), (32, 32, 3), (37, 50, 1), (50, 50, 1), (50, 50, 3), (64, 64, 1)],
    *[
        pytest.param(shape, marks=pytest.mark.exhaustive)
        for shape in [(28, 28, 3), (32, 32, 1), (37, 50, 3), (64, 64, 3), (63, 41, 1)]
    ],
]


@pytest.fixture(autouse=True)
def float32_again():
    yield
    keras.config.set_dtype_policy("float32")


def build(generator="SampleGenerator", discriminator="SampleDiscriminator", contest=DIGITS, seed=0, **settings):
    settings = {"feature_size": 4, "num_classes": 3, **settings}
    return model_builder.build_pair(generator, discriminator, contest, seed=seed, **settings)


def build_named(pair, *args, **settings):
    generator = f"{pair}Generator"  # a D without a G of its own plays beside DCGAN's
    return build(generator if generator in NAMES else "DCGAN4Generator", f"{pair}Discriminator", *args, **settings)


def noise_of(count, latent_size=100, seed=0):
    return random_noise_generator.generate_noise(count, latent_size, np.random.default_rng(seed))


def images_of(count, contest=DIGITS, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, contest.image_size)).astype(np.float32)


def weights(model):
    return [variable.numpy() for variable in model.variables]


@every_pair
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pair_works_at_exactly_the_size_asked_for(pair, shape):
    contest = spec.ContestSpec(*shape, latent_size=7)
    generator, discriminator = build_named(pair, contest)  # which looks at both modes
    for count in (1, 3):
        images = np.asarray(generator(noise_of(count, 7))["output"])
        assert spec.image_fault(images, count, contest) is None
        outputs = discriminator(images)
        assert outputs["logits"].shape == outputs["predictions"].shape == (count, 1)
        np.testing.assert_allclose(outputs["predictions"], 1 / (1 + np.exp(-outputs["logits"])), atol=1e-6)


@pytest.fixture(scope="module", params=PAIRS)
def pair_for_digits(request):
    """(generator, discriminator), which no test trains."""
    return build_named(request.param)


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(pair_for_digits):
    generator, discriminator = pair_for_digits
    noise = noise_of(5)
    images = np.asarray(generator(noise)["output"])
    np.testing.assert_allclose(generator(noise[2:3])["output"], images[2:3], atol=1e-5)
    logits = np.asarray(discriminator(images)["logits"])
    np.testing.assert_allclose(discriminator(images[2:3])["logits"], logits[2:3], atol=1e-5)


def test_inference_changes_no_state(pair_for_digits):
    for model, inputs in zip(pair_for_digits, (noise_of(4), images_of(4)), strict=True):
        before = weights(model)
        first = model(inputs, training=False)
        for a, b in zip(before, weights(model), strict=True):
            np.testing.assert_array_equal(a, b)
        for name, value in model(inputs, training=False).items():
            np.testing.assert_array_equal(value, first[name])


@every_pair
@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.exhaustive)])
def test_half_precision_gives_float32_close_to_that_of_float32(pair, precision):
    contest = spec.ContestSpec(16, 18, 1)
    exact, half = build_named(pair, contest, seed=2), build_named(pair, contest, seed=2, mixed_precision=precision)
    for model, reference, inputs in zip(half, exact, (noise_of(4), images_of(4, contest)), strict=True):
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
        for training in (False, True):
            outputs, wanted = model(inputs, training=training), reference(inputs, training=training)
            for name in set(outputs) - {"labels"}:
                assert outputs[name].dtype == tf.float32
                tolerance = 0.03 * np.abs(wanted[name]).max() + 0.01
                np.testing.assert_allclose(outputs[name], wanted[name], atol=tolerance, rtol=0)
            if "labels" in outputs:
                np.testing.assert_array_equal(outputs["labels"], wanted["labels"])


def penalty_of(discriminator, images, training):
    """The mean of |dD/dx|^2, as in zero-centred gradient penalties."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminator(images, training=training)["logits"]
    return tf.reduce_mean(tf.reduce_sum(tape.gradient(logits, images) ** 2, axis=1))


@every_pair
def test_a_gradient_penalty_can_be_learned(pair):
    _, discriminator = build_named(pair)
    images, kernels = tf.constant(images_of(64)), [v.value for v in discriminator.trainable_variables if v.ndim > 1]
    for training in (True, False):
        with tf.GradientTape() as tape:
            penalty = penalty_of(discriminator, images, training)
        gradients = tape.gradient(penalty, kernels, unconnected_gradients="zero")
        slope = float(tf.linalg.global_norm(gradients))
        assert 0 < slope < np.inf
    step = 0.02 * float(penalty) / slope**2  # in inference mode: nothing but the kernels moves
    for kernel, gradient in zip(kernels, gradients, strict=True):
        kernel.assign_sub(step * gradient)
    # A leaky ReLU whose input changes its sign makes the penalty jump, which no gradient foretells.
    assert float(penalty_of(discriminator, images, training=False)) == pytest.approx(0.98 * float(penalty), rel=0.01)


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


def test_dcgan4_differs_in_its_kernels_alone():
    generator, discriminator = build_named("DCGAN4", spec.ContestSpec(), feature_size=64)
    kernels = [variable.shape for variable in generator.trainable_variables if variable.name == "kernel"]
    assert kernels == [(100, 7 * 7 * 256), (4, 4, 128, 256), (4, 4, 64, 128), (4, 4, 1, 64)]
    kernels = [variable.shape for variable in discriminator.trainable_variables if variable.name == "kernel"]
    assert kernels == [(4, 4, 1, 64), (4, 4, 64, 128), (4, 4, 128, 256), (7 * 7 * 256, 1)]


NORMALISED = {
    "dense": (lambda **settings: keras.layers.Dense(5, **settings), (9, 7)),
    "convolution": (lambda **settings: keras.layers.Conv2D(5, 3, 2, "same", **settings), (2, 6, 7, 3)),
}


@pytest.fixture(params=NORMALISED)
def normalised(request):
    """(a spectrally normalised layer with a bias, the same layer alone, an input)."""
    make, shape = NORMALISED[request.param]
    keras.utils.set_random_seed(0)
    layer, alone = models.SpectralNormalization(make(bias_initializer="normal")), make()
    inputs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for built in (layer, alone):
        built(inputs)
    return layer, alone, inputs


def matrix(layer):
    return layer.kernel.numpy().reshape(-1, layer.kernel.shape[-1])


def test_spectral_normalisation_divides_the_kernel_by_its_largest_singular_value(normalised):
    layer, alone, inputs = normalised
    for _ in range(100):
        layer(inputs, training=True)
    kernel = layer.layer.kernel.numpy()
    sigma = np.linalg.svd(matrix(layer.layer), compute_uv=False)[0]
    alone.set_weights([kernel / sigma, layer.layer.bias.numpy()])
    for training in (False, True):
        np.testing.assert_allclose(layer(inputs, training=training), alone(inputs), atol=1e-5)
    np.testing.assert_array_equal(kernel, layer.layer.kernel)


def test_a_training_pass_is_one_power_iteration_and_inference_none(normalised):
    layer, _, inputs = normalised
    w, u = matrix(layer.layer), layer.u.numpy()
    layer(inputs, training=False)
    np.testing.assert_array_equal(layer.u, u)
    trained = layer(inputs, training=True)
    v = w @ u / np.linalg.norm(w @ u)
    np.testing.assert_allclose(layer.u, w.T @ v / np.linalg.norm(w.T @ v), atol=1e-6)
    np.testing.assert_array_equal(layer(inputs, training=False), trained)
    layer.u.assign(0.5 * layer.u)
    np.testing.assert_allclose(layer(inputs), trained, atol=1e-5, err_msg="u counts as a direction alone")
    assert [variable.name for variable in layer.trainable_variables] == ["kernel", "bias"]


def test_spectral_normalisation_differentiates_several_passes_of_one_step(normalised):
    """Each pass divides by its own sigma, so W and 2 W are the same layer and the gradient is at right angles to W."""
    layer, _, inputs = normalised
    kernel = layer.layer.kernel
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(layer(scale * inputs, training=True) ** 3) for scale in (1.0, 2.0))
    gradient = np.asarray(tape.gradient(loss, kernel.value))
    cosine = np.sum(gradient * kernel.numpy()) / np.linalg.norm(gradient) / np.linalg.norm(kernel)
    assert float(cosine) == pytest.approx(0, abs=1e-5)


def test_the_gradient_goes_through_sigma(normalised):
    layer, alone, inputs = normalised
    for _ in range(100):
        layer(inputs, training=True)
    kernel, bias = layer.layer.kernel, layer.layer.bias.numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs, training=True) ** 3)
    gradient = np.asarray(tape.gradient(loss, kernel.value)).astype(np.float64)
    step = 0.003 * np.linalg.norm(kernel) * gradient / np.linalg.norm(gradient)

    def loss_at(moved):
        sigma = np.linalg.svd(moved.reshape(-1, moved.shape[-1]), compute_uv=False)[0]
        alone.set_weights([moved / sigma, bias])
        return np.sum(np.asarray(alone(inputs), np.float64) ** 3)

    difference = loss_at(kernel.numpy() + step) - loss_at(kernel.numpy() - step)
    assert difference == pytest.approx(2 * np.sum(gradient * step), rel=0.01)


def test_spectral_normalisation_of_a_zero_kernel_is_zero():
    layer = models.SpectralNormalization(keras.layers.Dense(2, kernel_initializer="zeros"))
    np.testing.assert_array_equal(layer(np.ones([1, 3], np.float32), training=True), np.zeros([1, 2]))


def operations(graph_def):
    return {node.op for node in [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]}


def test_an_exported_sngan_reads_its_singular_vectors_and_changes_nothing(tmp_path):
    generator, discriminator = build_named("SNGAN")
    images, folder = images_of(3), storage.path(str(tmp_path / "run"))
    for _ in range(3):
        discriminator(images, training=True)
    wanted = np.asarray(discriminator(images, training=False)["predictions"])
    battling = battle_pair.BattlePair(generator, discriminator, calibrated=False)
    export_model.Exporter(battling, DIGITS, {}).write(folder, 1)

    discriminate = tf.saved_model.load(str(folder / "export" / "step_1")).signatures["discriminate"]
    assert not [op for op in operations(discriminate.graph.as_graph_def()) if op.startswith("Assign")]
    for _ in range(2):
        made = discriminate(input_batch_raw=tf.constant(images))["p_for_data"]
        np.testing.assert_allclose(made, wanted, atol=1e-6)

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        saver = v1.train.import_meta_graph(str(folder / "model.ckpt-1.meta"))
        saver.restore(session, str(folder / "model.ckpt-1"))
        p, raw = (v1.get_collection(name)[0] for name in ("p_for_data", "input_batch_raw"))
        needed = v1.graph_util.extract_sub_graph(graph.as_graph_def(), [p.op.name])
        assert not [op for op in operations(needed) if op.startswith("Assign")]
        for _ in range(2):
            np.testing.assert_allclose(session.run(p, {raw: images}), wanted, atol=1e-6)


def test_every_kernel_of_the_sngan_discriminator_is_normalised():
    _, discriminator = build_named("SNGAN")
    kernels = [variable for variable in discriminator.trainable_variables if variable.name == "kernel"]
    vectors = [variable for variable in discriminator.non_trainable_variables if variable.name == "u"]
    assert len(kernels) == len(vectors) == 13
    before = np.asarray(discriminator(images_of(2))["logits"])
    for kernel in kernels:
        kernel.assign(3 * kernel)
    np.testing.assert_allclose(discriminator(images_of(2))["logits"], before, atol=1e-5)


def test_a_residual_block_adds_its_two_sides():
    block = models.Residual([keras.layers.ReLU()], shortcut=[keras.layers.Rescaling(10.0)])
    np.testing.assert_array_equal(block(np.array([[-1.0, 2.0]])), [[-10.0, 22.0]])


def test_the_blocks_of_r3gan_begin_as_the_identity():
    _, discriminator = build_named("R3GAN")
    blocks = [layer for layer in discriminator.stack if isinstance(layer, models.Residual)]
    assert len(blocks) == discriminator.stages * discriminator.blocks_per_stage
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(blocks[0](x), x)
    inside = models.apply_stack(blocks[0].stack[:-1], x, is_training=True)
    assert np.std(inside) > 0.01, "the last convolution alone is zero"


def test_r3gan_starts_from_the_published_sizes():
    """He et al.'s gain for leaky ReLU, times L^(-1/4) inside a block of three convolutions (L blocks)."""
    gain = np.sqrt(2 / 1.04) * 4**-0.25
    for model in build_named("R3GAN", feature_size=32):
        for block in (layer for layer in model.stack if isinstance(layer, models.Residual)):
            first, _, depthwise, _, last = block.stack
            width = first.kernel.shape[2]
            assert np.std(first.kernel) == pytest.approx(gain / np.sqrt(width), rel=0.1)
            assert np.std(depthwise.kernel) == pytest.approx(gain / 3, rel=0.15)
            assert not np.any(last.kernel)


def test_r3gan_keeps_the_size_of_its_activations():
    """From z to the image's pixels before tanh, nothing grows or fades: variance near 1 but for smoothing."""
    generator, discriminator = build_named("R3GAN", spec.ContestSpec(), feature_size=32)
    x = generator.basis * models.apply_stack(generator.modulation, noise_of(16), True)
    assert np.std(x) == pytest.approx(1, abs=0.15)
    assert 0.2 < np.std(models.apply_stack(generator.stack[:-3], x, True)) < 2
    assert 0.05 < np.std(discriminator(images_of(16, spec.ContestSpec()))["logits"]) < 2


def test_the_last_latent_number_is_the_class():
    u = np.array([-1.0, -0.34, -0.33, 0.0, 0.33, 0.34, 1.0], np.float32)
    np.testing.assert_array_equal(models.class_of(u, 3), [0, 0, 1, 1, 1, 2, 2])

    generator, _ = build_named("ConditionalDCGAN")
    noise = np.repeat(noise_of(1), len(u), axis=0)
    noise[:, -1] = u
    for training in (False, True):
        labels = generator(noise, training=training)["labels"]
        assert labels.dtype == tf.int32
        np.testing.assert_array_equal(labels, [0, 0, 1, 1, 1, 2, 2])
    before = np.asarray(generator(noise)["output"])
    generator.embedding.kernel.assign(generator.embedding.kernel + np.array([[0.0], [1.0], [0.0]]))
    changed = np.any(before != generator(noise)["output"], axis=1)
    np.testing.assert_array_equal(changed, [False, False, True, True, True, False, False])


def test_labels_are_equally_likely():
    counts = np.bincount(models.class_of(noise_of(3000)[:, -1], 3))
    assert np.all(abs(counts - 1000) < 100)


def test_the_projection_discriminator_adds_the_class_embedding_times_the_features():
    _, discriminator = build_named("ConditionalDCGAN")
    images, labels = images_of(4), np.array([2, 0, 1, 2], np.int32)
    phi = np.asarray(models.apply_stack(discriminator.stack[:-1], images, is_training=False))
    embeddings = discriminator.projection.kernel.numpy().T * 50
    discriminator.projection.kernel.assign(embeddings.T)
    f = phi @ discriminator.stack[-1].kernel.numpy()
    wanted = f + np.sum(embeddings[labels] * phi, axis=1, keepdims=True)
    outputs = discriminator(images, labels=labels)
    np.testing.assert_allclose(outputs["logits"], wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(outputs["predictions"], 1 / (1 + np.exp(-wanted)), rtol=1e-4)

    odds = np.exp(f + phi @ embeddings.T)
    np.testing.assert_allclose(
        discriminator(images)["logits"], np.log(np.mean(odds, axis=1, keepdims=True)), rtol=1e-4, atol=1e-6
    )


def test_conditional_models_need_the_number_of_classes():
    with pytest.raises(InputError, match="ConditionalDCGANGenerator learns from labels"):
        build_named("ConditionalDCGAN", num_classes=0)


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
        ("NoGenerator", "no such class; gan.models has: .*, DCGANDiscriminator, DCGANGenerator, .*SampleDiscriminator"),
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
