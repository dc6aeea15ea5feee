"""The frozen feature networks and the command that made them."""

import hashlib
import shlex
import shutil

import keras
import numpy as np
import pytest
import record_files
import tensorflow as tf
from conftest import ROOT

from gan import digits, feature_networks, flags, train_features
from gan.errors import InputError

FOLDER = ROOT / "gan" / "feature_weights"
NAMES = list(feature_networks.NETWORKS)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_that_were_frozen(name):
    network = feature_networks.NETWORKS[name]
    file = FOLDER / f"{name}.npz"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == network.sha256
    assert file.stat().st_size < 4e6
    with np.load(file) as arrays:
        assert {key: arrays[key].shape for key in arrays} == feature_networks.weight_shapes(network)


@pytest.mark.parametrize("name", NAMES)
def test_what_made_them_is_told(name):
    network = feature_networks.NETWORKS[name]
    options = flags.parse(train_features.TrainFeaturesOptions, shlex.split(network.command)[2:])
    assert options.kind == name and options.output_file == f"gan/feature_weights/{name}.npz"
    text = (FOLDER / "README.md").read_text()
    assert network.sha256 in text and network.command in text


def test_other_weights_are_refused(tmp_path, monkeypatch):
    shutil.copy(FOLDER / "digits.npz", tmp_path)
    with (tmp_path / "digits.npz").open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr(feature_networks, "_FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"digits\.npz is not the file that was shipped"):
        feature_networks.load.__wrapped__("digits")


@pytest.mark.parametrize(
    "shape, name",
    [((28, 28, 1), "digits"), ((32, 8, 1), "digits"), ((28, 28, 3), "faces"), ((33, 8, 1), "faces")],
)
def test_choose(shape, name):
    assert feature_networks.choose(shape) == name


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_each_image_alone(name, random_pixels):
    network = feature_networks.load(name)
    shape = (network.side, network.side, 1)
    pixels = random_pixels(300, network.side**2)
    features = network.features(pixels, shape)
    assert features.shape == (300, network.size) and features.dtype == np.float32
    assert np.all(np.isfinite(features))
    np.testing.assert_array_equal(features, network.features(pixels, shape))
    np.testing.assert_allclose(network.features(pixels[255:258], shape), features[255:258], rtol=1e-3, atol=1e-3)
    assert network.features(pixels[:0], shape).shape == (0, network.size)


def test_an_image_keeps_its_features_in_colour_and_about_keeps_them_in_another_size():
    network = feature_networks.load("faces")
    rows, columns = np.mgrid[:100, :100] / 100
    smooth = 128 + 60 * np.sin(5 * rows) * np.cos(4 * columns)[None]
    large = np.rint(smooth).astype(np.uint8).reshape(1, -1)
    small = large.reshape(1, 50, 2, 50, 2).mean(axis=(2, 4)).round().astype(np.uint8).reshape(1, -1)
    features = network.features(small, (50, 50, 1))
    colour = np.repeat(small, 3, axis=1)
    np.testing.assert_allclose(network.features(colour, (50, 50, 3)), features, atol=0.05)
    other = network.features(255 - small, (50, 50, 1))
    distance = np.linalg.norm(network.features(large, (100, 100, 1)) - features)
    assert distance < 0.1 * np.linalg.norm(other - features)


@pytest.mark.parametrize("pixels", [np.zeros((2, 784), np.float32), np.zeros((2, 783), np.uint8)])
def test_wrong_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match=r"expected uint8 \[N, 784\] for images of 28x28x1"):
        feature_networks.load("digits").features(pixels, (28, 28, 1))


def test_digits_can_be_told_apart_by_their_features():
    training, others = digits.load("train"), digits.load("validation")
    network = feature_networks.load("digits")
    known, asked = (
        network.features(data.pixels.take(np.arange(len(data))), digits.SHAPE) for data in (training, others)
    )
    nearest = np.linalg.norm(asked[:, None] - known[None], axis=2).argmin(axis=1)
    assert np.mean(training.labels[nearest] == others.labels) > 0.95


def test_unknown_networks_are_refused():
    with pytest.raises(InputError, match="feature network 'vgg': expected one of digits, faces, inception"):
        feature_networks.load("vgg")


def test_without_its_weights_inception_tells_where_to_put_them(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure on https://somewhere")

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    with pytest.raises(InputError, match=r"put inception_v3_weights\w+\.h5, .* into .*models.*'faces'"):
        feature_networks.load("inception")


@pytest.mark.slow
def test_inception_takes_gray_images(monkeypatch, random_pixels):
    make = keras.applications.InceptionV3
    monkeypatch.setattr(keras.applications, "InceptionV3", lambda **settings: make(**{**settings, "weights": None}))
    network = feature_networks.load.__wrapped__("inception")
    assert network.features(random_pixels(2, 784), digits.SHAPE).shape == (2, network.size)


def options(tmp_path, **settings):
    data = digits.load("train")
    pattern = record_files.write_images(tmp_path / "digits", data.pixels.take(np.arange(80)), data.labels[:80])
    chosen = {"kind": "digits", "train_data_pattern": pattern, "output_file": str(tmp_path / "out.npz")}
    return train_features.TrainFeaturesOptions(**{**chosen, "num_epochs": 2, "batch_size": 40, **settings})


def test_training_can_be_repeated_and_its_weights_fit_the_network(tmp_path):
    files = []
    for _ in range(2):
        train_features.train_features(options(tmp_path))
        files.append((tmp_path / "out.npz").read_bytes())
    assert files[0] == files[1]
    network = feature_networks.NETWORKS["digits"]
    with np.load(tmp_path / "out.npz") as arrays:
        features = feature_networks.apply(network, dict(arrays), tf.ones((2, 28, 28, 1)))
    assert features.shape == (2, network.size) and np.all(np.isfinite(features))


def test_whitening():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 5).astype(np.float32)
    kernel, bias = train_features._whitening(tf.constant(features))
    white = features @ kernel.numpy() + bias.numpy()
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(6), atol=1e-2)


def test_faces_need_no_labels(tmp_path, random_pixels):
    pattern = record_files.write_images(tmp_path / "faces", random_pixels(8, 2500))
    train_features.train_features(options(tmp_path, kind="faces", train_data_pattern=pattern, batch_size=4))
    assert (tmp_path / "out.npz").exists()


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="--batch_size=81: there are only 80 images"):
        train_features.train_features(options(tmp_path, batch_size=81))
