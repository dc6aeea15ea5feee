import contextlib
import csv
import dataclasses
import errno
import functools
import gzip
import hashlib
import io
import os
import pathlib
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import urllib.error
import warnings

import data_files
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from gan import build_records, flags, records
from gan.data import sources
from gan.errors import InputError, RunError

NAMES = ("lfw", "mnist", "cifar10")
PLACES = {
    "lfw": "sklearn/lfw_home/lfw-funneled.tgz",
    "mnist": "keras/datasets/mnist.npz",
    "cifar10": "keras/datasets/cifar-10-batches-py-target_archive",
}
OBJECTS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PEOPLE = {f"Person_{letter}": 1 + number % 4 for number, letter in enumerate("ABCDEFGHIJKL")}
NUM_FACES = sum(PEOPLE.values())


def random_images(count, *shape):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


@functools.cache
def mnist():
    """Returns (the file, images, labels): 40 images of the part for training, 20 of that for testing."""
    images, labels = random_images(60, 28, 28), np.arange(60, dtype=np.uint8) % 10
    file = io.BytesIO()
    np.savez_compressed(file, x_train=images[:40], y_train=labels[:40], x_test=images[40:], y_test=labels[40:])
    return file.getvalue(), images, labels


@functools.cache
def cifar10():
    """Returns (the file, images, labels): ten images in each part."""
    images, labels = random_images(60, 32, 32, 3), np.arange(60) * 7 % 10
    parts = ["data_batch_4", "test_batch", "data_batch_1", "data_batch_2", "data_batch_3", "data_batch_5"]
    batches = [python_2_pickle(images[i : i + 10], labels[i : i + 10]) for i in range(0, 60, 10)]
    tree = {f"cifar-10-batches-py/{part}": batch for part, batch in zip(parts, batches, strict=True)}
    tree = {"cifar-10-batches-py/batches.meta": b"no batch", "cifar-10-batches-py/readme.html": b"hello", **tree}
    return data_files.tarred(tree, "gz"), images, labels


def python_2_pickle(images, labels):
    """Returns {"data": ..., "labels": ...} as Python 2 and the NumPy of 2009 wrote it, with strings of bytes."""
    pixels = images.transpose(0, 3, 1, 2).tobytes()
    return b"".join(
        [
            b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR",
            b"(K\x01K%cM\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR" % len(images),
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(pixels)) + pixels,
            b"tbU\x06labels](" + b"".join(b"K%c" % label for label in labels) + b"eu.",
        ]
    )


def jpeg(colors):
    file = io.BytesIO()
    Image.fromarray(colors).resize((250, 250), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    return file.getvalue()


@functools.cache
def lfw_tree():
    names = [f"{name}/{name}_{number:04}.jpg" for name, count in PEOPLE.items() for number in range(1, count + 1)]
    return {**dict(zip(names, map(jpeg, random_images(NUM_FACES, 25, 25, 3)), strict=True)), "pairs_01.txt": b"300"}


@functools.cache
def lfw():
    return data_files.tarred({f"lfw_funneled/{place}": data for place, data in lfw_tree().items()}, "gz"), None, None


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where the libraries keep their files: an empty folder."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))
    return tmp_path


@pytest.fixture
def published(home, monkeypatch):
    """Makes small data sets the published ones; returns {name: (file, images, labels)}, and puts none in place."""
    made = {"lfw": lfw(), "mnist": mnist(), "cifar10": cifar10()}
    counts = {"lfw": NUM_FACES, "mnist": 60, "cifar10": 60}
    for name, (data, _, _) in made.items():
        known = sources.SETS[name]
        file = dataclasses.replace(known.file, sha256=hashlib.sha256(data).hexdigest())
        monkeypatch.setitem(sources.SETS, name, dataclasses.replace(known, file=file, count=counts[name]))
    return made


@pytest.fixture
def in_place(home, published):
    """The same, with the files put in place by hand."""
    for name, (data, _, _) in published.items():
        put(home / PLACES[name], data)
    return published


def put(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


@pytest.fixture
def downloads(monkeypatch):
    """Takes the network's place; returns a function that says what it gives from now on, and a list of what it gave."""
    import sklearn.datasets._base

    asked, answer = [], []

    def retrieve(url, target):
        asked.append(url)
        if isinstance(answer[-1], Exception):
            raise answer[-1]
        pathlib.Path(target).write_bytes(answer[-1])

    monkeypatch.setattr(sklearn.datasets._base, "urlretrieve", retrieve)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return answer.append, asked


def options(*given):
    return flags.parse(build_records.BuildOptions, ["build_records", "--workers=1", *given])


def build(output, *given):
    return build_records.build(options(f"--output={output}", *given))


def opened(name, *given):
    return sources.open_named(options(f"--source={name}", "--output=unused", *given))


def read(output, shape, with_labels=True):
    """Returns {pixels: label} of all records."""
    found = records.read(f"{output}/*.tfrecords", shape, with_labels=with_labels)
    pixels = found.pixels.take(np.arange(len(found)))
    return dict(zip(map(bytes, pixels), found.labels if with_labels else [None] * len(found), strict=True))


def rows(output, *splits):
    found = {}
    for split in splits:
        with (output / f"{split}.csv").open(newline="") as file:
            found[split] = list(csv.DictReader(file))
    return found


def refusal(kind, *given):
    with pytest.raises(kind) as caught:
        opened(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_images_and_labels_become_records_of_their_own_size(name, in_place, tmp_path):
    _, images, labels = in_place[name]
    made = build(tmp_path / "out", f"--source={name}")
    shape = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}[name]
    expected = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert read(tmp_path / "out", shape) == expected
    assert made["labels"] == {text: i for i, text in enumerate(OBJECTS if name == "cifar10" else "0123456789")}
    assert (made["images"], made["source"]["kind"], made["refused"]["count"]) == (60, name, 0)
    assert {split: facts["images"] for split, facts in made["splits"].items()}.keys() == {"train", "validation", "test"}


def test_faces_become_records_of_the_contest_with_each_person_in_one_split(in_place, tmp_path):
    made = build(tmp_path / "out", "--source=lfw", "--splits=train:0.5,test:0.5")
    assert len(read(tmp_path / "out", (50, 50, 1), with_labels=False)) == NUM_FACES
    with pytest.raises(InputError, match="label"):
        read(tmp_path / "out", (50, 50, 1))
    people = {
        split: {row["group"] for row in found} for split, found in rows(tmp_path / "out", "train", "test").items()
    }
    assert people["train"] | people["test"] == set(PEOPLE)
    assert people["train"] and people["test"] and not people["train"] & people["test"]
    assert (made["labels"], made["source"]["kind"]) == ({}, "lfw")


def test_the_faces_are_those_that_scikit_learn_cuts_out(home, published, tmp_path):
    import sklearn.datasets

    folder = home / "sklearn" / "lfw_home"
    data_files.folder(folder / "lfw_funneled", lfw_tree())
    for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        put(folder / name, b"")
    theirs = sklearn.datasets.fetch_lfw_people(color=True, resize=None, download_if_missing=False)
    build(tmp_path / "out", "--source=lfw", "--height=125", "--width=94", "--channels=3")
    expected = {np.rint(image * 255).astype(np.uint8).tobytes() for image in theirs.images}
    assert read(tmp_path / "out", (125, 94, 3), with_labels=False).keys() == expected


def test_the_archive_and_what_was_unpacked_from_it_give_the_same_records(home, in_place, tmp_path):
    made = [build(tmp_path / "archive", "--source=lfw", "--labels=folder")]
    with tarfile.open(home / PLACES["lfw"]) as archive:
        archive.extractall(home / "sklearn" / "lfw_home", filter="data")
    (home / PLACES["lfw"]).unlink()
    made.append(build(tmp_path / "folder", "--source=lfw", "--labels=folder"))
    assert made[0]["splits"] == made[1]["splits"]
    assert list(made[0]["labels"]) == list(made[1]["labels"]) == sorted(PEOPLE)
    assert made[1]["source"]["other_files"] == {"count": 1, "first": ["pairs_01.txt"]}


@pytest.mark.parametrize("name", NAMES)
def test_references_can_be_read_in_another_process_and_from_any_number_on(name, in_place):
    source = opened(name)
    images = list(source.images())
    assert source.count == len(images) == len({image.place for image in images})
    assert [list(source.images(start)) for start in (1, 9, 10, 41, 99)] == [images[n:] for n in (1, 9, 10, 41, 99)]
    reader, references = pickle.loads(pickle.dumps((source.reader, list(source.references()))))
    assert [reader.read(reference) for reference in references] == [image.data for image in images]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("mnist", "train[0]", "test[19]"),
        ("cifar10", "data_batch_4[0]", "data_batch_5[9]"),
        ("lfw", "lfw_funneled/Person_A/Person_A_0001.jpg", "lfw_funneled/Person_L/Person_L_0004.jpg"),
    ],
)
def test_a_place_says_where_an_image_was_published(name, first, last, in_place):
    places = [reference.place for reference in opened(name).references()]
    assert (places[0], places[-1]) == (first, last)


def test_what_python_2_pickled_is_read_without_warnings(in_place):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(opened("cifar10").references())) == 60


def test_labels_and_groups_can_be_chosen(in_place):
    def seen(name, *given):
        return {(reference.label, reference.group) for reference in opened(name, *given).references()}

    assert seen("mnist", "--labels=none", "--group_pattern=^[a-z]+") == {(None, "train"), (None, "test")}
    assert seen("lfw") == {(None, person) for person in PEOPLE}
    assert seen("lfw", "--labels=folder") == {(person, person) for person in PEOPLE}
    assert {group for _, group in seen("lfw", "--group_pattern=000[12]")} == {"0001", "0002", None}
    assert opened("mnist", "--labels=none").label_names == []
    assert opened("cifar10").label_names == OBJECTS


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_that_of_the_content_and_of_the_labels(name, home, in_place):
    first = opened(name).fingerprint
    os.utime(home / PLACES[name], (1, 1))
    assert opened(name).fingerprint == first
    assert opened(name, "--labels=folder" if name == "lfw" else "--labels=none").fingerprint != first


@pytest.mark.parametrize(("name", "shape"), [("lfw", (50, 50, 1)), ("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_a_data_set_has_its_size_unless_flags_give_another(name, shape):
    def size(*given):
        chosen = options(f"--source={name}", "--output=x", *given)
        return chosen.height, chosen.width, chosen.channels

    assert size() == shape
    assert size("--height=50") == (50, *shape[1:])
    assert size("--width=64", "--channels=1") == (shape[0], 64, 1)


def test_input_and_source_exclude_each_other():
    for given, words in [
        (["--output=x"], "--input is missing: it says where the pictures are; or give --source (one of lfw, mnist"),
        (["--output=x", "--source=mnist", "--input=y"], "--input=y and --source=mnist exclude each other"),
        (["--source=mnist"], "--output is missing"),
        (["--output=x", "--source=imagenet"], "--source=imagenet: expected one of lfw, mnist, cifar10"),
    ]:
        with pytest.raises(InputError) as caught:
            options(*given)
        assert words in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_flags_that_do_not_fit_are_refused(name, in_place):
    assert "--group_column is for a CSV file" in refusal(InputError, name, "--group_column=person")
    if name != "lfw":
        assert f"--labels=folder is not for --source={name}" in refusal(InputError, name, "--labels=folder")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "(Name or service not known)"),
        (urllib.error.URLError(OSError("Tunnel connection failed: 403 Forbidden")), "(Tunnel connection failed: 403"),
        (
            urllib.error.ContentTooShortError("retrieval incomplete: got only 5 out of 9 bytes", None),
            "(retrieval incom",
        ),
        (TimeoutError("timed out"), "(timed out)"),
        (ConnectionResetError(104, "Connection reset by peer"), "(Connection reset by peer)"),
    ],
)
def test_without_a_network_the_error_names_the_file_that_may_be_put_in_place(name, error, words, home, downloads):
    downloads[0](error)
    message, url = refusal(RunError, name), sources.SETS[name].file.url
    assert message.startswith("there is no network, or none that reaches ") and words in message
    assert message.endswith(f"; get {url} elsewhere and put it in place as {home / PLACES[name]}")
    assert set(downloads[1]) == {url}
    assert not list((home / PLACES[name]).parent.iterdir())  # but the folder is there


def test_without_a_network_the_command_ends_with_one_line(command, tmp_path):
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    cleared = dict.fromkeys(("no_proxy", "NO_PROXY"), "")
    settings = {**os.environ, **nowhere, **cleared, "KERAS_HOME": str(tmp_path)}
    done = command("build_records", "--source=mnist", f"--output={tmp_path}/out", env=settings)
    assert done.returncode == 1
    assert done.stderr == (
        "error: there is no network, or none that reaches storage.googleapis.com (Connection refused); get "
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz elsewhere and put it in place as "
        f"{tmp_path}/datasets/mnist.npz\n"
    )


def test_a_server_that_refuses_is_named(home, downloads):
    downloads[0](urllib.error.HTTPError("https://x", 403, "Forbidden", None, None))
    message = refusal(RunError, "cifar10")
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert message.startswith(f"{url} cannot be downloaded: the server answers 403 Forbidden; get {url} elsewhere")


def test_another_file_from_the_network_is_not_kept(home, downloads):
    downloads[0](b"<html>please log in</html>")
    assert "/mnist.npz is not the published file (The SHA256" in refusal(RunError, "mnist")
    assert not list((home / "keras" / "datasets").iterdir())


def test_a_full_disk_is_no_missing_network(home, downloads):
    downloads[0](OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        opened("mnist")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_downloaded_is_kept_where_the_library_keeps_it(name, home, published, downloads, capsys):
    downloads[0](published[name][0])
    images = list(opened(name).images())
    assert capsys.readouterr().out.startswith(f"downloading {sources.SETS[name].file.url} (")
    assert (home / PLACES[name]).read_bytes() == published[name][0]
    downloads[0](OSError("not again"))
    assert list(opened(name).images()) == images
    assert len(downloads[1]) == 1
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["cut", "empty", "other", "folder"])
def test_a_damaged_file_that_was_put_in_place_is_named_and_left_alone(name, damage, home, in_place, downloads):
    file, data = home / PLACES[name], in_place[name][0]
    damaged = {"cut": data[: len(data) // 2], "empty": b"", "other": gzip.compress(b"something else")}
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(damaged[damage])
    message = refusal(InputError, name)
    assert message.startswith(f"{file} is cut short, damaged or another file: its SHA-256 is not ")
    assert message.endswith(f"; remove it, or put what is at {sources.SETS[name].file.url} in its place")
    assert file.exists() and not downloads[1]


def test_faces_that_were_not_all_unpacked_are_refused_until_the_archive_is_there(home, published):
    folder = home / "sklearn" / "lfw_home" / "lfw_funneled"
    data_files.folder(folder, lfw_tree())
    shutil.rmtree(folder / "Person_L")
    message = refusal(InputError, "lfw")
    assert message.startswith(f"{folder} holds 26 pictures, not 30; remove it, or put what is at https://")
    assert message.endswith(f" beside it as {home / PLACES['lfw']}")
    put(home / PLACES["lfw"], published["lfw"][0])
    assert len(list(opened("lfw").references())) == NUM_FACES


def test_a_damaged_picture_of_a_face_is_refused_with_its_reason(home, published, tmp_path):
    folder = home / "sklearn" / "lfw_home" / "lfw_funneled"
    data_files.folder(folder, lfw_tree())
    damaged = folder / "Person_B" / "Person_B_0001.jpg"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    made = build(tmp_path / "out", "--source=lfw")
    assert made["refused"] == {"count": 1, "files": [["Person_B/Person_B_0001.jpg", "is truncated"]]}
    assert made["images"] == NUM_FACES - 1


def test_the_libraries_keep_the_same_files_in_the_same_places(home, monkeypatch):
    """Where a new version of one of them has another address, hash or name, `named.SETS` has to follow."""
    import keras
    import sklearn.datasets._base

    got = []

    def retrieve(url, target, *_):
        got.append([url, str(target).partition(".part_")[0]])
        pathlib.Path(target).write_bytes(b"")

    def validate(file, expected, **_):
        got[-1].append(expected)
        return False

    monkeypatch.setattr(
        sys.modules["keras.src.backend.config"], "_KERAS_DIR", os.environ["KERAS_HOME"]
    )  # read at import
    (home / "keras").mkdir()
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", retrieve)
    monkeypatch.setattr("keras.src.utils.file_utils.validate_file", validate)
    monkeypatch.setattr(sklearn.datasets._base, "urlretrieve", retrieve)
    for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        put(home / "sklearn" / "lfw_home" / name, b"")
    with pytest.raises(OSError, match="SHA256") as caught:
        sklearn.datasets.fetch_lfw_people()
    got[-1].append(str(caught.value).rpartition("(")[2].rstrip(")."))
    for load in (keras.datasets.mnist.load_data, keras.datasets.cifar10.load_data):
        with contextlib.suppress(ValueError):
            load()
    known = [sources.SETS[name].file for name in NAMES]
    assert got == [[file.url, str(file.path), file.sha256] for file in known]
    assert [str(file.path) for file in known] == [str(home / PLACES[name]) for name in NAMES]


def test_a_file_in_place_is_read_without_any_library(home, in_place):
    """Importing one of them takes seconds."""
    code = f"""
import dataclasses, sys
from gan import build_records
from gan.data import sources
known = sources.SETS["mnist"]
file = dataclasses.replace(known.file, sha256={sources.SETS["mnist"].file.sha256!r})
sources.SETS["mnist"] = dataclasses.replace(known, file=file)
source = sources.open_named(build_records.BuildOptions(source="mnist", output="unused"))
print(len(list(source.images())), sorted({{"sklearn", "keras", "tensorflow"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("60 []\n", "")
