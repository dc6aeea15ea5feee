"""The measures of sets of features: against reference implementations, and on images that were spoiled on purpose."""

import os
import re

import numpy as np
import prdc
import pytest
import scipy.linalg
import scipy.ndimage
import sklearn.cluster
from conftest import ROOT
from sklearn.metrics import pairwise

from gan import digits, feature_networks, metrics, records, seeds

PAGE = (ROOT / "docs" / "metrics.md").read_text()
MEASURES = {
    *("kid", "frechet_distance", "precision", "recall", "density", "coverage", "two_sample_accuracy", "variety"),
    *("memorisation_distance", "penalised_frechet_distance"),
}


def normal(seed, count, size, mean=0.0, deviation=1.0):
    return np.random.default_rng(seed).normal(mean, deviation, (count, size))


@pytest.fixture(scope="module")
def samples():
    """Two sets of features that differ, not of one size."""
    return normal(0, 150, 8), normal(1, 120, 8, 0.3, 1.2)


def test_kid_is_what_a_plain_loop_gives(samples):
    def mean(a, b, different):
        kernel = [
            pairwise.polynomial_kernel(a[i : i + 1], b[j : j + 1], degree=3, coef0=1).item()
            for i in range(len(a))
            for j in range(len(b))
            if not different or i != j
        ]
        return np.mean(kernel)

    real, generated = (features[:30] for features in samples)
    expected = mean(real, real, True) + mean(generated, generated, True) - 2 * mean(real, generated, False)
    np.testing.assert_allclose(metrics.kid(real, generated), expected, rtol=1e-9)


@pytest.mark.parametrize("count", [150, 6])  # fewer images than features: the covariance is singular
def test_frechet_distance_is_that_of_a_matrix_root(samples, count):
    real, generated = samples[0][:count], samples[1]
    covariances = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((real.mean(0) - generated.mean(0)) ** 2) + np.trace(sum(covariances) - 2 * root)
    np.testing.assert_allclose(metrics.frechet_distance(real, generated), expected, rtol=1e-6)


def test_frechet_distance_of_shifted_and_scaled_features_is_known():
    real = normal(0, 500, 5)
    np.testing.assert_allclose(metrics.frechet_distance(real, real + [3, 0, 4, 0, 0]), 25, rtol=1e-9)
    trace = np.trace(np.cov(real, rowvar=False))
    about_mean = real.mean(axis=0) + 3 * (real - real.mean(axis=0))
    np.testing.assert_allclose(metrics.frechet_distance(real, about_mean), 4 * trace, rtol=1e-9)


def test_neighbourhoods_are_those_of_the_papers_own_code(samples):
    expected = prdc.compute_prdc(*samples, nearest_k=metrics.NEIGHBOURS)
    for name, value in expected.items():
        assert value > 0
        np.testing.assert_allclose(getattr(metrics, name)(*samples), value, rtol=1e-9)


def test_two_blobs_of_which_one_is_missing():
    real = np.concatenate([normal(0, 100, 2), normal(1, 100, 2, 100)])
    generated = normal(2, 200, 2)
    assert metrics.precision(real, generated) > 0.9
    assert 0.4 < metrics.recall(real, generated) <= 0.5
    assert 0.4 < metrics.coverage(real, generated) <= 0.5
    assert metrics.variety(real, generated) < 0.1


def test_memorisation_distance():
    training = normal(0, 50, 6)
    assert metrics.memorisation_distance(3 * training[:20], training) == pytest.approx(0, abs=1e-12)
    assert metrics.memorisation_distance([[0, 2]], [[1, 0], [-5, 0]]) == pytest.approx(1)
    assert metrics.memorisation_distance([[1, 1]], [[1, 0], [0, -1]]) == pytest.approx(1 - np.sqrt(0.5))
    assert metrics.memorisation_distance([[1, 1]], [[-1, -1]]) == pytest.approx(2)


def test_copies_are_penalised_and_others_are_not(samples):
    real, generated = samples
    training = normal(3, 400, 8)
    plain = metrics.frechet_distance(real, generated)
    assert metrics.penalised_frechet_distance(real, generated, training) == plain
    copies = training[:100] + normal(4, 100, 8, 0, 0.01)
    assert metrics.penalised_frechet_distance(real, copies, training) > 100 * metrics.frechet_distance(real, copies)


def test_two_sample_accuracy():
    real = normal(0, 1000, 4)
    assert metrics.two_sample_accuracy(real, normal(1, 1000, 4)) == pytest.approx(0.5, abs=0.05)
    assert metrics.two_sample_accuracy(real, normal(1, 100, 4, 10)) == 1
    # Two normal distributions one deviation apart: no test is right more often than in 69.1 % of cases.
    shifted = normal(1, 3000, 4) + [1, 0, 0, 0]
    assert metrics.two_sample_accuracy(real, shifted) == pytest.approx(0.691, abs=0.03)


def test_the_nearest_other_image():
    square = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 4.0]])
    assert metrics.nearest_distance(square) == pytest.approx(3)
    assert metrics.nearest_distance(np.concatenate([square, [[0.0, 1.0]]])) == pytest.approx((1 + 1 + 3 * 3) / 5)
    assert metrics.nearest_distance(np.concatenate([square, square])) == pytest.approx(0, abs=1e-6)


def test_variety():
    real = normal(0, 100, 4)
    assert metrics.variety(real, real) == pytest.approx(1)
    assert metrics.variety(real, 3 * real[:50]) == pytest.approx(3, rel=0.1)
    assert metrics.variety(real, np.ones((10, 4))) == pytest.approx(0, abs=1e-6)


def test_the_report_holds_every_measure_at_its_value(samples):
    training = normal(2, 300, 8)
    report = metrics.report(*samples, training, seed=3)
    assert set(report) == MEASURES
    for name in MEASURES - {"memorisation_distance", "penalised_frechet_distance", "two_sample_accuracy"}:
        assert report[name].value == pytest.approx(getattr(metrics, name)(*samples), rel=1e-9)
    accuracy = metrics.two_sample_accuracy(*samples, seed=3)
    assert report["two_sample_accuracy"].value == accuracy
    assert report["memorisation_distance"].value == metrics.memorisation_distance(samples[1], training)
    penalised = metrics.penalised_frechet_distance(*samples, training)
    assert report["penalised_frechet_distance"].value == pytest.approx(penalised)
    for estimate in report.values():
        assert estimate.low <= estimate.value <= estimate.high
    assert report == metrics.report(*samples, training, seed=3)
    assert set(metrics.report(*samples)) == MEASURES - {"memorisation_distance", "penalised_frechet_distance"}


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """The mean over many draws stands for the truth about sets of this size."""
    runs = [metrics.report(normal(2 * i, 100, 3), normal(2 * i + 1, 100, 3, 0.4)) for i in range(40)]
    for name in ("kid", "frechet_distance", "precision", "recall", "density", "coverage", "variety"):
        truth = np.mean([run[name].value for run in runs])
        held = np.mean([run[name].low <= truth <= run[name].high for run in runs])
        assert held >= 0.85, (name, held)
        errors = [run[name].value - truth for run in runs]
        reach = np.mean([run[name].high - run[name].low for run in runs]) / 2
        assert 0.6 < reach / (2.09 * np.std(errors)) < 1.8, name


@pytest.mark.parametrize(
    "real, generated, says",
    [
        (np.zeros(5), np.zeros((5, 2)), r"real features have shape \[5\]; expected \[images, features\]"),
        (np.zeros((9, 2)), np.zeros((9, 3)), "2 real and 3 generated features an image; expected those of one network"),
        (np.zeros((9, 2)), np.full((9, 2), np.nan), "18 generated features are not finite"),
        (np.zeros((9, 2)), np.zeros((1, 2)), "1 generated images; expected at least"),
    ],
)
def test_wrong_features_are_refused(real, generated, says):
    for name in MEASURES - {"memorisation_distance", "penalised_frechet_distance"}:
        with pytest.raises(ValueError, match=says):
            getattr(metrics, name)(real, generated)
    with pytest.raises(ValueError):
        metrics.report(real, generated)


# What the functions of torchmetrics 1.9.0 returned, with torch 2.13.0 in float64, for the features of `for_torch`:
# those behind FrechetInceptionDistance, KernelInceptionDistance (all images as its one subset) and
# MemorizationInformedFrechetInceptionDistance (whose class seeks the nearest the other way round, unlike the paper).
TORCHMETRICS = {
    "frechet_distance": 2.7091965446008714,
    "kid": 15.669167304215023,
    "penalised_frechet_distance": 30.22868581860348,
}


def for_torch():
    """Features that are not negative, as Inception's are."""
    rng = np.random.default_rng(7)
    return rng.gamma(2.0, 1.0, (200, 16)), rng.gamma(2.2, 1.0, (200, 16))


def test_the_same_numbers_as_torchmetrics():
    real, generated = for_torch()
    assert metrics.frechet_distance(real, generated) == pytest.approx(TORCHMETRICS["frechet_distance"], rel=1e-6)
    assert metrics.kid(real, generated) == pytest.approx(TORCHMETRICS["kid"], rel=1e-6)
    # There the real images are the training images, too.
    penalised = metrics.penalised_frechet_distance(real, generated, training=real, threshold=0.1)
    assert penalised == pytest.approx(TORCHMETRICS["penalised_frechet_distance"], rel=1e-6)


def test_the_page_tells_of_every_measure_and_network():
    for name in MEASURES:
        assert len(re.findall(rf"^\| `{name}` \|", PAGE, re.MULTILINE)) == 2  # what it means, what it sees
    for network in feature_networks.NETWORKS.values():
        assert network.sha256 in PAGE and network.command in PAGE


def expected_changes():
    """The page's matrix: {damage: {measure: "rises", "falls", "stays" or ""}}."""
    head, _, *rows = re.search(r"(\| measure \| blur .*?)\n\n", PAGE, re.DOTALL)[1].split("\n")
    damages = [cell.strip() for cell in head.split("|")[2:-1]]
    cells = [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows]
    return {damage: {row[0]: row[column + 1] for row in cells} for column, damage in enumerate(damages)}


def spoiled(damage, pixels, training, side):
    """Returns images that were damaged so, uint8 [N, side * side]."""
    rng = seeds.generator(0, damage)
    images = pixels.reshape(-1, side, side).astype(np.float64)
    if damage == "blur":
        images = scipy.ndimage.gaussian_filter(images, (0, 0.06 * side, 0.06 * side))
    elif damage == "noise":
        images = images + rng.normal(0, 30, images.shape)
    elif damage == "pixelation":
        block = round(side / 12)
        places = np.arange(side) // block * block + block // 2
        images = images[:, np.minimum(places, side - 1)][:, :, np.minimum(places, side - 1)]
    elif damage == "missing modes":
        clusters = sklearn.cluster.KMeans(10, n_init=1, random_state=0).fit_predict(pixels)
        return pixels[clusters < 3]
    elif damage == "repeats":
        return pixels[rng.integers(0, 20, len(pixels))]
    elif damage == "collapse":
        images = 0.9 * images[:1] + 0.1 * images
    elif damage == "copies":
        return training[rng.permutation(len(training))[: len(pixels)]]
    else:
        raise AssertionError(damage)
    return np.rint(np.clip(images, 0, 255)).astype(np.uint8).reshape(len(pixels), -1)


def check_the_matrix(real, others, shape):
    """Measures what happens to real images that pass for generated ones as they are spoiled."""
    network = feature_networks.load(feature_networks.choose(shape))
    order = seeds.generator(0, "matrix").permutation(len(others))
    generated, training = (others.pixels.take(np.sort(part)) for part in np.array_split(order, 2))
    generated, training = generated[:1500], training[:4000]
    features_of_real = network.features(real.pixels.take(np.arange(len(real))), shape)
    features_of_training = network.features(training, shape)

    def measured(pixels):
        return metrics.report(features_of_real, network.features(pixels, shape), features_of_training)

    before, wrong = measured(generated), []
    for damage, changes in expected_changes().items():
        assert set(changes) == MEASURES
        after = measured(spoiled(damage, generated, training, shape[0]))
        for name, change in changes.items():
            if after[name].low > before[name].high:
                found = "rises"
            elif after[name].high < before[name].low:
                found = "falls"
            else:
                found = "stays"
            print(f"{damage:14} {name:27} {found}  {before[name]} -> {after[name]}")
            if change not in ("", found):
                wrong.append((damage, name, found, str(before[name]), str(after[name])))
    assert not wrong


@pytest.mark.slow
def test_the_matrix_holds_on_digits():
    check_the_matrix(digits.load("validation"), digits.load("train"), digits.SHAPE)


@pytest.mark.slow
def test_the_matrix_holds_on_faces():
    """GAN_FACES names two patterns of 50x50 record files: validation images, then, after a colon, training images."""
    if "GAN_FACES" not in os.environ:
        pytest.skip("set GAN_FACES=validation.tfrecords:train.tfrecords to check the matrix on faces")
    shape = (50, 50, 1)
    real, others = (records.read(pattern, shape) for pattern in os.environ["GAN_FACES"].split(":"))
    check_the_matrix(real, others, shape)
