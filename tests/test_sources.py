import gzip
import io
import os
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile

import data_files
import hypothesis
import pytest
from conftest import ROOT
from data_files import options
from hypothesis import strategies

from gan import gs, storage
from gan.data import sources
from gan.data.sources import files
from gan.data.sources.folder import FolderSource
from gan.errors import InputError, RunError

# In the order of a walk: a name that begins like a folder's comes after what is in the folder.
TREE = {"cats/1.jpg": b"cat 1", "cats/2.JPEG": b"cat 2", "cats-and/3.png": b"cat 3", "dogs/1.jpg": b"dog 1"}
LABELS = ["cats", "cats", "cats-and", "dogs"]
TABLE = "path,label\n" + "".join(f"{place},{label}\n" for place, label in zip(TREE, LABELS, strict=True))
PIXELS = bytes(range(24))
KINDS = ("folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "csv", "idx", "idx.gz")


def opened(target, **settings):
    return sources.open_source(options(target, **settings))


def refusal(target, **settings):
    with pytest.raises(InputError) as caught:
        opened(target, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def faults(source):
    """Returns {place: fault} of the images that have one, and makes sure that they have no bytes."""
    images = list(source.images())
    assert source.count == len(images)
    assert all((image.data is None) == (image.fault is not None) for image in images)
    return {image.place: image.fault for image in images if image.fault}


def data_of(source):
    return {image.place: image.data for image in source.images() if not image.fault}


def written(folder, name, data):
    """Writes a file below a local or remote folder and returns its path."""
    target = storage.path(str(folder)) / name
    storage.write_bytes(target, data)
    return target


def of_kind(kind, folder):
    """Makes a source of any kind below a folder and returns what `--input` is for it."""
    if kind == "folder":
        return data_files.folder(f"{folder}/tree", TREE)
    if kind == "zip":
        return written(folder, "tree.zip", data_files.zipped(TREE))
    if kind.startswith("tar"):
        return written(folder, f"tree.{kind}", data_files.tarred(TREE, kind[4:]))
    if kind == "csv":
        data_files.folder(folder, TREE)
        return written(folder, "tree.csv", TABLE.encode())
    pack = gzip.compress if kind.endswith(".gz") else bytes
    written(folder, "train-labels-idx1-ubyte", data_files.idx([7, 0, 7, 10], 4))
    return written(folder, "train-images-idx3-ubyte", pack(data_files.idx(PIXELS, 4, 2, 3)))


@pytest.fixture(params=["local", "ram"])
def root(request, tmp_path):
    return tmp_path if request.param == "local" else f"ram://{tmp_path.name}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_places_bytes_and_labels(kind, root):
    source = opened(of_kind(kind, root))
    images = [(image.place, image.data, image.label) for image in source.images()]
    if kind.startswith("idx"):
        pixels = [PIXELS[first : first + 6] for first in range(0, 24, 6)]
        places = [f"train-images-idx3-ubyte[{number}]" for number in range(4)]
        expected = [(place, b"P5\n3 2\n255\n" + row) for place, row in zip(places, pixels, strict=True)]
        labels, names = ["7", "0", "7", "10"], ["0", "7", "10"]
    else:
        expected, labels, names = list(TREE.items()), LABELS, ["cats", "cats-and", "dogs"]
    assert images == [(*pair, label) for pair, label in zip(expected, labels, strict=True)]
    assert (source.count, source.label_names, source.kind) == (4, names, kind.partition(".")[0])


@pytest.mark.parametrize("labels", ["auto", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_from_a_number_on_are_the_tail(kind, labels, root):
    source = opened(of_kind(kind, root), labels=labels)
    images = list(source.images())
    assert len(images) == 4
    assert [image.label for image in images] == [None] * 4 or labels == "auto"
    for start in range(6):
        assert list(source.images(start)) == images[start:]


@pytest.mark.parametrize("kind", KINDS)
def test_references_can_be_read_in_another_process(kind, tmp_path):
    source = opened(of_kind(kind, tmp_path))
    reader, references = pickle.loads(pickle.dumps((source.reader, list(source.references()))))
    assert [reader.read(reference) for reference in references] == [image.data for image in source.images()]


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_follows_the_source(kind, tmp_path):
    target = of_kind(kind, tmp_path)
    first = opened(target).fingerprint
    assert opened(target, group_pattern="(.)").fingerprint == first
    assert len(first) == 64
    changed = pathlib.Path(target) / "dogs" / "1.jpg" if kind == "folder" else pathlib.Path(target)
    os.utime(changed, (1, 1))
    assert (opened(target).fingerprint == first) == (kind in ("zip", "csv"))  # these two are told by their content
    changed.write_bytes({"zip": data_files.zipped({**TREE, "cats/1.jpg": b"cat 9"})}.get(kind, changed.read_bytes()))
    if kind == "csv":
        (tmp_path / "dogs" / "1.jpg").write_bytes(b"another dog")
    assert opened(target).fingerprint != first


def test_nothing_imports_tensorflow_for_a_local_source(tmp_path):
    code = (
        "import sys, types; from gan.data import sources; "
        f"list(sources.open_source(types.SimpleNamespace(**{vars(options(of_kind('zip', tmp_path)))!r})).images()); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# Trees of files: which are images, and which labels they have


def test_hidden_files_are_left_out_and_others_counted(tmp_path):
    hidden = {".x.jpg": b"", ".git/x.jpg": b"", "__MACOSX/x.jpg": b"", "cats/.DS_Store": b"", "cats/._1.jpg": b""}
    others = {"README.txt": b"read me", "cats/notes.md": b"", "dogs/Thumbs.db": b"", "models.ckpt": b""}
    tree = {**TREE, **hidden, **others, "dogs/plain": b"no suffix"}
    inputs = [
        data_files.folder(tmp_path / "tree", tree),
        written(tmp_path, "a.zip", data_files.zipped(tree)),
        written(tmp_path, "a.tar", data_files.tarred(tree)),
    ]
    for source in map(opened, inputs):
        assert data_of(source) == {**TREE, "dogs/plain": b"no suffix"}
        assert source.others.count == 4
        assert set(source.others.names) == set(others)
        assert source.label_names == ["cats", "cats-and", "dogs"]


def test_only_the_first_few_others_are_named(tmp_path):
    data_files.folder(tmp_path, {"1.png": b"", **{f"{number:02}.txt": b"" for number in range(30)}})
    assert opened(tmp_path).others == sources.Others(30, ("00.txt", "01.txt", "02.txt", "03.txt", "04.txt"))


@pytest.mark.parametrize(
    "name", ["A.JPG", "a.jpe", "a.bmp", "a.gif", "a.webp", "a.pgm", "a.ppm", "a.PNM", "a.tif", "a.TIFF"]
)
def test_suffixes_of_images(name, tmp_path):
    assert data_of(opened(data_files.folder(tmp_path, {name: b"x"}))) == {name: b"x"}


@pytest.mark.parametrize(
    ("places", "in_folder", "in_archive"),
    [
        (["a/1.png", "b/1.png"], ["a", "b"], ["a", "b"]),
        (["a/1.png", "a/2.png"], [], []),  # one folder is no choice
        (["1.png", "2.png"], [], []),
        (["a/1.png", "b/1.png", "3.png"], [], []),
        (["a/1.png", "b/c/1.png"], [], []),
        (["raw/a/1.png", "raw/b/1.png"], [], ["a", "b"]),
        (["x/raw/a/1.png", "x/raw/b/1.png"], [], ["a", "b"]),
        (["x/a/1.png", "y/a/1.png"], [], []),
        (["10/1.png", "9/1.png", "1/1.png"], ["1", "9", "10"], ["1", "9", "10"]),
        (["a/1.png", "b/1.png", "LICENSE"], ["a", "b"], ["a", "b"]),  # what may be no image has no say
        (["a/1", "b/1"], ["a", "b"], ["a", "b"]),  # unless there is nothing else
    ],
)
def test_folders_are_labels_where_all_images_lie_one_deep(places, in_folder, in_archive, tmp_path):
    tree = dict.fromkeys(places, b"x")
    assert opened(data_files.folder(tmp_path / "tree", tree)).label_names == in_folder
    for name, data in (("a.zip", data_files.zipped(tree)), ("a.tgz", data_files.tarred(tree, "gz"))):
        source = opened(written(tmp_path, name, data))
        assert source.label_names == in_archive
        assert [image.place for image in source.images()] == sorted(places) or name == "a.tgz"


def test_what_may_be_no_image_needs_a_class_too(tmp_path):
    source = opened(data_files.folder(tmp_path, {**TREE, "LICENSE": b"", "docs/COPYING": b"", "dogs/plain": b"dog"}))
    outside = "lies outside the class folders"
    assert faults(source) == {"LICENSE": outside, "docs/COPYING": outside}
    assert {image.place: image.label for image in source.images()}["dogs/plain"] == "dogs"


def test_labels_are_the_folder_above_if_asked_for(tmp_path):
    tree = {"train/cats/1.png": b"x", "val/cats/1.png": b"x", "val/dogs/deep/1.png": b"x"}
    source = opened(data_files.folder(tmp_path / "tree", tree), labels="folder")
    assert [image.label for image in source.images()] == ["cats", "cats", "deep"]
    assert source.label_names == ["cats", "deep"]
    one = opened(written(tmp_path, "a.zip", data_files.zipped({"cats/1.png": b"x"})), labels="folder")
    assert [image.label for image in one.images()] == ["cats"]


def test_an_image_above_the_class_folders_is_named(tmp_path):
    message = refusal(data_files.folder(tmp_path / "tree", {**TREE, "top.png": b""}), labels="folder")
    assert "top.png lies in no class folder" in message
    tree = {"raw/cats/1.png": b"x", "raw/top.png": b"x"}
    for name, data in (("a.zip", data_files.zipped(tree)), ("a.tar", data_files.tarred(tree))):
        assert "raw/top.png lies in no class folder" in refusal(written(tmp_path, name, data), labels="folder")


def test_no_labels_if_not_asked_for(tmp_path):
    source = opened(data_files.folder(tmp_path, TREE), labels="none")
    assert source.label_names == []
    assert {image.label for image in source.images()} == {None}


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"^(\w+)[-/]", ["cats", "cats", "cats", "dogs"]),
        (r"\d", ["1", "2", "3", "1"]),
        (r"dogs", [None, None, None, "dogs"]),
        (r"cats(-and)?", [None, None, "-and", None]),
    ],
)
def test_groups_come_from_the_place(pattern, groups, tmp_path):
    source = opened(data_files.folder(tmp_path, TREE), group_pattern=pattern)
    assert [image.group for image in source.images()] == groups


def test_a_pattern_must_be_a_regular_expression(tmp_path):
    message = refusal(data_files.folder(tmp_path, TREE), group_pattern="(")
    assert message.startswith("--group_pattern=( is not a regular expression")


NAMES = strategies.text("aAbé0 -_", min_size=1, max_size=3).filter(lambda name: name.strip() == name)
PLACES = strategies.tuples(
    strategies.lists(NAMES, max_size=3), NAMES, strategies.sampled_from([".jpg", ".PNG", ".txt", ""])
).map(lambda parts: "/".join([*parts[0], parts[1] + parts[2]]))


def is_tree(places):
    folders = {
        place[: place.index("/", start)] for place in places for start in range(len(place)) if "/" in place[start:]
    }
    return not folders & set(places)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    tree=strategies.dictionaries(PLACES, strategies.binary(max_size=20), min_size=1, max_size=8).filter(is_tree),
    labels=strategies.sampled_from(sources.LABELS),
)
def test_folder_zip_and_tar_of_the_same_files_are_the_same(tree, labels):
    # Folders around all images are no classes in an archive only; here there are none.
    tree = {**tree, "x/1.png": b"1", "y/1.png": b"2"}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data_files.folder(folder / "tree", tree)
        (folder / "a.zip").write_bytes(data_files.zipped(tree))
        (folder / "a.tar").write_bytes(data_files.tarred(tree))
        (folder / "a.tgz").write_bytes(data_files.tarred(tree, "gz", tarfile.GNU_FORMAT))
        results = []
        for target in ("tree", "a.zip", "a.tar", "a.tgz"):
            try:
                source = opened(folder / target, labels=labels)
            except InputError as error:
                results.append(str(error))
                continue
            images = list(source.images())
            assert source.count == len(images) or (target == "a.tgz" and labels == "none")
            results.append(
                (sorted((i.place, i.data or b"", i.label or "", i.fault or "") for i in images), source.label_names)
            )
        walked, zipped = (
            [image.place for image in opened(folder / target, labels="none").images()] for target in ("tree", "a.zip")
        )
    assert results[0] == results[1]
    assert results[2] == results[3]
    # Of several images above the class folders, each source names the first that it meets.
    assert results[0] == results[2] or (isinstance(results[0], str) and isinstance(results[2], str))
    assert walked == zipped


# Folders


@pytest.fixture
def linked(tmp_path):
    """A folder with every kind of symbolic link."""
    root = tmp_path / "root"
    data_files.folder(root, {"a/1.jpg": b"one", "b/2.jpg": b"two"})
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    for link, target in {
        "a/inside.jpg": "../b/2.jpg",
        "a/outside.jpg": tmp_path / "outside.jpg",
        "a/up.jpg": "../../outside.jpg",
        "a/broken.jpg": "nowhere.jpg",
        "a/circle.jpg": "circle.jpg",
        "a/all": "..",
        "b/v1.2": root / "a",
        "b/notes.txt": "../../outside.jpg",
    }.items():
        (root / link).symlink_to(target)
    return root


def test_symbolic_links_are_not_followed_out_of_the_folder(linked):
    source = opened(linked)
    assert faults(source) == {
        "a/outside.jpg": "is a symbolic link that leads outside the folder",
        "a/up.jpg": "is a symbolic link that leads outside the folder",
        "a/broken.jpg": "is a broken symbolic link",
        "a/circle.jpg": "is a symbolic link that leads to itself",
        "a/all": "is a symbolic link to a folder",
        "b/v1.2": "is a symbolic link to a folder",
    }
    assert data_of(source) == {"a/1.jpg": b"one", "a/inside.jpg": b"two", "b/2.jpg": b"two"}
    assert source.others == sources.Others(1, ("b/notes.txt",))
    assert source.label_names == ["a", "b"]


def test_the_folder_itself_may_be_a_link(linked, tmp_path):
    (tmp_path / "link").symlink_to(linked)
    assert data_of(opened(tmp_path / "link")) == data_of(opened(linked))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    data_files.folder(tmp_path, TREE)
    os.mkfifo(tmp_path / "cats" / "pipe.jpg")
    assert faults(opened(tmp_path)) == {"cats/pipe.jpg": "is not a file but a pipe, a socket or a device"}
    assert "is not a file" in refusal(tmp_path / "cats" / "pipe.jpg")


def test_a_file_of_more_than_256_mb_is_not_read(tmp_path):
    data_files.folder(tmp_path, TREE)
    data_files.truncated_file(tmp_path / "cats" / "bomb.png", (256 << 20) + 1)
    assert faults(opened(tmp_path)) == {"cats/bomb.png": "is larger than 256 MB"}


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path, monkeypatch):
    source = opened(data_files.folder(tmp_path, TREE))
    real_fstat, inode = os.fstat, (tmp_path / "dogs" / "1.jpg").stat().st_ino

    def fstat(descriptor):
        if real_fstat(descriptor).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real_fstat(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    assert faults(source) == {"dogs/1.jpg": "cannot be read (Input/output error)"}


def test_a_folder_that_cannot_be_read_is_a_fault(tmp_path, monkeypatch):
    data_files.folder(tmp_path, TREE)
    real_listdir = os.listdir

    def listdir(folder):
        if str(folder) == closed:
            raise PermissionError(13, "Permission denied")
        return real_listdir(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    closed = f"{tmp_path}/cats"
    source = opened(tmp_path)
    assert faults(source) == {"cats": "cannot be read (Permission denied)"}
    assert source.label_names == ["cats-and", "dogs"]
    closed = str(tmp_path)
    assert refusal(tmp_path) == f"{tmp_path} cannot be read (Permission denied)"


def test_names_that_are_not_utf8_become_text(tmp_path):
    for name in (b"caf\xe9.jpg", b"caf\\xe9.jpg"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as writer:
            writer.write(name)
    assert data_of(opened(tmp_path)) == {"caf\\xe9.jpg": b"caf\\xe9.jpg", "caf\\xe9.jpg (2)": b"caf\xe9.jpg"}


def test_an_empty_folder_is_refused(root, tmp_path):
    data_files.folder(root, {"only/README.txt": b""})
    assert "holds no images but 1 other file(s), for instance only/README.txt; expected .jpg" in refusal(root)
    (tmp_path / "empty").mkdir()
    assert "empty holds no images; expected .jpg" in refusal(tmp_path / "empty")


def test_a_bucket_is_listed_with_sizes_and_generations(storage_server):
    target = storage.path(storage_server.bucket("pictures")) / "photos"
    for name in ("dogs/1.jpg", "cats/1.jpg", "a.txt"):
        storage.write_text(target / name, name)
    source = FolderSource(target, options(target))
    assert [reference.place for reference in source.references()] == ["cats/1.jpg", "dogs/1.jpg"]
    assert (source.count, source.label_names, source.others.names) == (2, ["cats", "dogs"], ("a.txt",))
    storage.write_text(target / "dogs" / "1.jpg", "another1.j")
    assert FolderSource(target, options(target)).fingerprint != source.fingerprint


def test_a_bucket_that_does_not_answer_is_no_fault_of_the_images(storage_server, monkeypatch):
    monkeypatch.setattr(gs, "RETRY_SECONDS", 1)
    target = storage.path(storage_server.bucket("pictures")) / "photos"
    storage_server.close()
    with pytest.raises(RunError, match="gs://pictures/photos: Google Cloud Storage does not answer"):
        FolderSource(target, options(target))


def test_remote_files_are_read_ahead_in_order(tmp_path):
    tree = {f"{number:03}.jpg": b"%d" % number for number in range(60)}
    source = opened(data_files.folder(f"ram://{tmp_path.name}", tree))
    references, taken = source.references, []

    def counted(start):
        for reference in references(start):
            taken.append(reference.place)
            yield reference

    source.references = counted
    images = source.images()
    assert [next(images).data for _ in range(20)] == list(tree.values())[:20]
    assert taken == list(tree)[: 20 + 15]
    images.close()


def test_a_remote_file_that_is_gone_is_a_fault(tmp_path):
    target = data_files.folder(f"ram://{tmp_path.name}", TREE)
    source = opened(target)
    references = list(source.references())
    (storage.path(target) / "dogs" / "1.jpg").unlink()
    with pytest.raises(sources.Unreadable, match="does not exist"):
        source.reader.read(references[-1])


def test_a_network_that_fails_is_no_fault_of_the_file(tmp_path):
    import tensorflow as tf

    file = written(f"ram://{tmp_path.name}", "1.jpg", b"x")
    for error, expected in (
        (tf.errors.UnavailableError, tf.errors.UnavailableError),
        (tf.errors.PermissionDeniedError, sources.Unreadable),
    ):
        with pytest.raises(expected, match="no way"), files.opened(file):
            raise error(None, None, "no way")


# Archives


HOSTILE = ("/etc/1.jpg", "../../2.jpg", "a/../../3.jpg", "../run.sh", "../.ssh/key")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_members_that_leave_the_archive_are_faults(kind, tmp_path):
    tree = {**TREE, **dict.fromkeys(HOSTILE, b"x")}
    data = data_files.zipped(tree) if kind == "zip" else data_files.tarred(tree, kind[4:])
    source = opened(written(tmp_path, f"a.{kind}", data))
    found = faults(source)
    assert set(found.values()) == {"leaves the archive"}
    assert set(found) == {"etc/1.jpg", *HOSTILE[1:]}
    assert data_of(source) == TREE
    assert source.label_names == ["cats", "cats-and", "dogs"]


def test_kinds_of_tar_members(tmp_path):
    entries = [
        data_files.tar_entry("a/link.jpg", tarfile.SYMTYPE, "1.jpg"),
        data_files.tar_entry("a/hard.jpg", tarfile.LNKTYPE, "a/1.jpg"),
        data_files.tar_entry("a/pipe.jpg", tarfile.FIFOTYPE),
        data_files.tar_entry("a/folder.jpg", tarfile.DIRTYPE),
        data_files.tar_entry("a/link.txt", tarfile.SYMTYPE, "1.jpg"),
    ]
    data = data_files.tarred({"./a/1.jpg": b"one", **{entry.name: entry for entry in entries}, "./b/2.jpg": b"two"})
    source = opened(written(tmp_path, "a.tar", data))
    assert faults(source) == {
        "a/link.jpg": "is a symbolic link",
        "a/hard.jpg": "is a hard link",
        "a/pipe.jpg": "is not a plain file",
    }
    assert data_of(source) == {"a/1.jpg": b"one", "b/2.jpg": b"two"}
    assert source.label_names == ["a", "b"]


def test_a_zip_member_may_be_a_link_or_encrypted_or_of_another_method(tmp_path):
    data = bytearray(data_files.zipped({data_files.zip_symlink("a/link.jpg"): b"/etc/passwd", **TREE}))
    patch_member(data, "dogs/1.jpg", 8, "<H", 1)
    source = opened(written(tmp_path, "a.zip", bytes(data)))
    assert faults(source) == {"a/link.jpg": "is a symbolic link", "dogs/1.jpg": "is encrypted"}
    other = written(tmp_path, "b.zip", data_files.zipped(TREE, zipfile.ZIP_LZMA))
    assert set(faults(opened(other)).values()) == {"is compressed by method 14, which is not supported"}


def patch_member(data, name, offset, form, *values):
    """Changes what a zip file's table of contents says of a member."""
    start = data.rindex(name.encode()) - 46
    assert data[start : start + 4] == b"PK\1\2"
    struct.pack_into(form, data, start + offset, *values)


def test_stored_zip_members_are_read(tmp_path):
    assert data_of(opened(written(tmp_path, "a.zip", data_files.zipped(TREE, zipfile.ZIP_STORED)))) == TREE


def test_a_zip_member_that_announces_more_than_256_mb_is_not_unpacked(tmp_path):
    data = bytearray(data_files.zipped(TREE))
    patch_member(data, "dogs/1.jpg", 24, "<I", (256 << 20) + 1)
    assert faults(opened(written(tmp_path, "a.zip", bytes(data)))) == {"dogs/1.jpg": "is larger than 256 MB"}


def test_a_zip_member_that_lies_about_its_size_is_cut_off(tmp_path):
    data = bytearray(data_files.zipped({**TREE, "bomb.png": bytes(64 << 20)}))
    patch_member(data, "bomb.png", 24, "<I", 1000)
    source = opened(written(tmp_path, "a.zip", bytes(data)))
    tracemalloc.start()
    try:
        assert faults(source) == {"bomb.png": "is damaged (it is larger than it says)"}
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_zip_members_are_faults(method, tmp_path):
    content = bytes(range(256)) * 8
    data = bytearray(data_files.zipped({**TREE, "dogs/2.jpg": content, "dogs/3.jpg": b"fine"}, method))
    start = data.index(b"dogs/2.jpg") + len("dogs/2.jpg")
    data[start : start + 20] = b"\xff" * 20
    (fault,) = faults(opened(written(tmp_path, "a.zip", bytes(data)))).values()
    assert fault in ("is damaged (its checksum is wrong)", "is damaged (it cannot be unpacked)")
    data[data.index(b"PK\3\4", start)] = 0
    found = faults(opened(written(tmp_path, "b.zip", bytes(data))))
    assert found["dogs/3.jpg"] == "is damaged (it has no header)"
    patch_member(data, "dogs/1.jpg", 42, "<I", 1 << 31)
    assert faults(opened(written(tmp_path, "c.zip", bytes(data))))["dogs/1.jpg"] == "is cut short"


def test_a_zip_file_whose_beginning_is_lost_gives_what_is_left(tmp_path):
    data = data_files.zipped({f"{number}.jpg": bytes([number]) * 50 for number in range(9)}, zipfile.ZIP_STORED)
    target = written(tmp_path, "a.zip", b"PK\3\4" + data[100:])
    assert faults(opened(target)) == {"0.jpg": "is cut short", "1.jpg": "is cut short"}
    assert data_of(opened(target))["8.jpg"] == bytes([8]) * 50


def test_a_zip_file_without_its_table_is_refused(tmp_path):
    data = data_files.zipped(TREE)
    for length in (len(data) // 2, len(data) - 30):
        message = refusal(written(tmp_path, "a.zip", data[:length]))
        assert message.endswith("a.zip: the zip file has no table of contents: it is cut short or damaged")
    damaged = data.replace(b"PK\1\2", b"????")
    assert "table of contents of the zip file is damaged" in refusal(written(tmp_path, "b.zip", damaged))


def test_a_zip_table_that_breaks_off_gives_what_stands_before(tmp_path):
    data = bytearray(data_files.zipped(TREE))
    data[data.rindex(b"PK\1\2")] = 0
    source = opened(written(tmp_path, "a.zip", bytes(data)))
    assert faults(source) == {"a.zip": "has a damaged table of contents; what comes after is lost"}
    assert len(data_of(source)) == 3


def test_large_zip_files_have_another_table(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 60)  # offsets beyond are written as numbers of 64 bits
    data = data_files.zipped(TREE)
    assert b"PK\6\6" in data
    monkeypatch.undo()
    assert data_of(opened(written(tmp_path, "a.zip", data))) == TREE


def test_zip_names_of_windows_and_of_programs_that_forget_to_say_utf8(tmp_path):
    windows = zipfile.ZipInfo("placeholder")
    windows.filename, windows.create_system = "katzen\\1.jpg", 0
    data = data_files.zipped({windows: b"1", "hünde/2.jpg": b"2"})
    data = data.replace(struct.pack("<H", 1 << 11), b"\0\0")
    source = opened(written(tmp_path, "a.zip", data))
    assert source.label_names == ["hünde", "katzen"]
    data = data.replace("hünde".encode(), b"h\x81nd\x82.")
    assert [image.place for image in opened(written(tmp_path, "b.zip", data)).images()] == [
        "hündé./2.jpg",
        "katzen/1.jpg",
    ]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_places_in_archives_are_unique(kind, tmp_path):
    names = ["a.jpg", "./a.jpg", ".//a.jpg", "b", "b", "b (2)"]
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
            for number, name in enumerate(names):
                archive.writestr(name, b"%d" % number)
    else:
        with tarfile.open(fileobj=file, mode=f"w:{kind[4:]}") as archive:
            for number, name in enumerate(names):
                info = tarfile.TarInfo(name)
                info.size = 1
                archive.addfile(info, io.BytesIO(b"%d" % number))
    source = opened(written(tmp_path, f"x.{kind}", file.getvalue()), group_pattern=".*")
    images = list(source.images())
    assert {image.place for image in images} == {"a.jpg", "a.jpg (2)", "a.jpg (3)", "b", "b (2)", "b (2) (2)"}
    assert sorted(image.data for image in images) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert {image.group for image in images} == {"a.jpg", "b", "b (2)"}
    assert list(source.images(4)) == images[4:]


@pytest.mark.parametrize("packing", ["", "gz", "bz2", "xz"])
def test_a_tar_file_that_is_cut_short_gives_what_is_there(packing, tmp_path):
    size = 500_000 if packing == "bz2" else 20_000  # bzip2 packs in blocks of 900 kB
    noise = [random.Random(number).randbytes(size) for number in range(5)]
    whole = data_files.tarred({f"{number}.jpg": data for number, data in enumerate(noise)}, packing)
    source = opened(written(tmp_path, "a.tar", whole[: len(whole) * 3 // 5]))
    found, data = faults(source), data_of(source)
    torn = str(len(data))
    assert all(data[f"{number}.jpg"] == noise[number] for number in range(len(data)))
    assert found in (
        {
            f"{torn}.jpg": "is cut short or damaged",
            "a.tar": f"is cut short or damaged after {torn}.jpg; what comes after is lost",
        },
        {"a.tar": f"is cut short or damaged after {len(data) - 1}.jpg; what comes after is lost"},
    )
    assert opened(tmp_path / "a.tar").kind == "tar"


def test_a_plain_tar_file_that_is_cut_short_between_members(tmp_path):
    whole = data_files.tarred({"1.jpg": b"x" * 512, "2.jpg": b"y" * 512})
    source = opened(written(tmp_path, "a.tar", whole[:1024]))
    assert data_of(source) == {"1.jpg": b"x" * 512}
    assert faults(source) == {"a.tar": "is cut short or damaged after 1.jpg; what comes after is lost"}


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_damaged_tar_header_loses_what_comes_after(packing, tmp_path):
    data = bytearray(data_files.tarred({"1.jpg": b"one", "2.jpg": b"two", "3.jpg": b"three"}))
    data[data.index(b"2.jpg")] = ord("x")  # the header's checksum no longer fits
    source = opened(written(tmp_path, "a.tar", gzip.compress(data) if packing else bytes(data)))
    assert data_of(source) == {"1.jpg": b"one"}
    assert list(faults(source)) == ["a.tar"]


def test_tar_headers_in_a_circle_have_an_end(tmp_path):
    info = tarfile.TarInfo("2.jpg")
    info.pax_headers = {"size": "-3072"}
    data = data_files.tarred({"1.jpg": b"one", "2.jpg": info})
    assert list(faults(opened(written(tmp_path, "a.tar", data)))) == ["a.tar"]


def test_a_tar_header_that_unpacks_to_gigabytes_is_not_read(tmp_path):
    bomb = data_files.tar_entry("long", tarfile.GNUTYPE_LONGNAME)
    bomb.size = 64 << 20
    header = bomb.tobuf(tarfile.GNU_FORMAT)
    data = data_files.tarred({"1.jpg": b"one"})[:1024] + header + bytes(bomb.size)
    target = written(tmp_path, "a.tgz", gzip.compress(data, 1))
    tracemalloc.start()
    try:
        assert list(faults(opened(target))) == ["a.tgz"]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_tar_member_of_more_than_256_mb_is_not_read(tmp_path):
    bomb = tarfile.TarInfo("bomb.jpg")
    bomb.size = (256 << 20) + 512
    data_files.truncated_file(tmp_path / "a.tar", bomb.size + 10240)
    with open(tmp_path / "a.tar", "r+b") as file:
        file.write(bomb.tobuf())
        file.seek(512 + bomb.size)
        file.write(data_files.tarred({"1.jpg": b"one"})[:1024])
    source = opened(tmp_path / "a.tar")
    assert faults(source) == {"bomb.jpg": "is larger than 256 MB"}
    assert data_of(source) == {"1.jpg": b"one"}


def test_a_packed_tar_file_is_not_surveyed_if_labels_do_not_need_it(tmp_path):
    source = opened(of_kind("tar.gz", tmp_path), labels="none")
    assert (source.count, source.others, source.label_names) == (None, None, [])
    assert data_of(source) == TREE
    assert source.fingerprint == opened(tmp_path / "tree.tar.gz").fingerprint
    empty = written(tmp_path, "b.tgz", data_files.tarred({"x.txt": b""}, "gz"))
    assert refusal(empty, labels="none").endswith("b.tgz holds no images")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_without_images_are_refused(kind, tmp_path):
    for tree in ({}, {"a/x.txt": b"", ".hidden.jpg": b""}):
        data = data_files.zipped(tree) if kind == "zip" else data_files.tarred(tree)
        assert "holds no images" in refusal(written(tmp_path, f"a.{kind}", data))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_memory_is_flat_in_the_number_of_members(kind, tmp_path):
    tree = {f"train/class-{number % 10}/image-{number:08}.jpg": b"x" for number in range(1000)}
    data = data_files.zipped(tree) if kind == "zip" else data_files.tarred(tree, form=tarfile.USTAR_FORMAT)
    target = written(tmp_path, f"a.{kind}", data)
    tracemalloc.start()
    try:
        assert sum(1 for _ in opened(target).images()) == 1000
        assert tracemalloc.get_traced_memory()[1] < 1000 * 500  # `zipfile` and `tarfile` take 700 and more
    finally:
        tracemalloc.stop()


# Tables


def table(folder, text, name="t.csv"):
    return written(folder, name, text.encode() if isinstance(text, str) else text)


def test_a_table_names_files_labels_and_groups(root, tmp_path):
    data_files.folder(f"{root}/deep", TREE)
    data_files.folder(tmp_path / "elsewhere", {"5.png": b"five"})
    text = (
        "\ufeffwho, file ,what\r\n"
        'anna,cats/1.jpg,"cat, ""big"""\r\n'
        "\r\n"
        f"bob,{tmp_path}/elsewhere/5.png,10\r\n"
        f",{root}/deep/dogs/1.jpg,9\r\n"
        "anna,./cats/../cats/1.jpg,9\r\n"
        "bob,nowhere.jpg,9\r\n"
        "bob,cats/2.JPEG,\r\n"
        "bob,,9\r\n"
        "bob\r\n"
    )
    columns = {"path_column": "file", "label_column": "what", "group_column": "who"}
    source = opened(table(f"{root}/deep", text), **columns)
    elsewhere = f"{tmp_path}/elsewhere/5.png"[1:]
    assert [(image.place, image.data, image.label, image.group, image.fault) for image in source.images()] == [
        ("cats/1.jpg", b"cat 1", 'cat, "big"', "anna", None),
        (elsewhere, b"five", "10", "bob", None),
        ("dogs/1.jpg", b"dog 1", "9", None, None),
        ("cats/1.jpg (2)", b"cat 1", "9", "anna", None),
        ("nowhere.jpg", None, "9", "bob", "does not exist"),
        ("cats/2.JPEG", None, None, "bob", "has no label"),
        ("t.csv:9", None, "9", "bob", "has no path"),
        ("t.csv:10", None, None, "bob", "has no path"),
    ]
    assert (source.count, source.label_names) == (8, ["10", "9", 'cat, "big"'])
    assert list(source.images(3)) == list(source.images())[3:]


def test_a_table_without_labels(tmp_path):
    data_files.folder(tmp_path, TREE)
    target = table(tmp_path, "path\ncats/1.jpg\n../x.jpg\n")
    assert refusal(target) == (
        f"{target} has no column 'label'; its header has: path (comma-separated); "
        "name the column with --label_column, or give --labels=none"
    )
    source = opened(target, labels="none", group_pattern="^[a-z]+")
    assert [(image.place, image.label, image.group) for image in source.images()] == [
        ("cats/1.jpg", None, "cats"),
        ("x.jpg", None, "x"),
    ]


@pytest.mark.parametrize(
    "path", ["s3://bucket/x.jpg", "/gs/x.jpg", "a\0b.jpg", "x" * 300 + ".jpg", "cats", "circle.jpg"]
)
def test_a_table_may_name_what_cannot_be_read(path, tmp_path):
    data_files.folder(tmp_path, TREE)
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (image,) = opened(table(tmp_path, f"path,label\n{path},1\n")).images()
    assert image.data is None
    assert not image.place.startswith("/")
    assert image.fault.startswith(("cannot be read (", "does not exist", "is not a file"))


def test_a_table_names_remote_files(tmp_path):
    data_files.folder(f"ram://{tmp_path.name}", TREE)
    target = table(tmp_path, f"path,label\nram://{tmp_path.name}/dogs/1.jpg,1\nram://{tmp_path.name}/no.jpg,1\n")
    images = [(image.place, image.data, image.fault) for image in opened(target).images()]
    assert images == [
        (f"{tmp_path.name}/dogs/1.jpg", b"dog 1", None),
        (f"{tmp_path.name}/no.jpg", None, "does not exist"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("path,label\n", "has a header but no rows"),
        ("file,class\nx.jpg,1\n", "has no column 'path'; its header has: file, class (comma-separated)"),
        ("path;label\nx.jpg;1\n", "has no column 'path'; its header has: path;label (comma-separated)"),
        ("\n", "its header has: nothing"),
        ("path,label\nx.jpg,caf\xe9\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("path,label\n".encode("utf-16"), "line 1 is not UTF-8"),
        ("path,label\nx.jpg," + "y" * 200_000 + "\n", "line 2 is not CSV (field larger than field limit"),
    ],
)
def test_files_that_are_no_tables(content, message, tmp_path):
    assert message in refusal(table(tmp_path, content))


def test_options_that_do_not_fit_a_table(tmp_path):
    data_files.folder(tmp_path, TREE)
    target = table(tmp_path, TABLE)
    assert "--labels=folder is not for a CSV file" in refusal(target, labels="folder")
    assert "give one of them" in refusal(target, group_column="label", group_pattern="x")
    assert "has no column 'person'" in refusal(target, group_column="person")
    assert "--group_column is for a CSV file" in refusal(tmp_path, group_column="person")


# IDX files


def test_idx_images_may_have_colours(tmp_path):
    source = opened(written(tmp_path, "x-idx4", data_files.idx(PIXELS, 2, 2, 2, 3)))
    assert [image.data for image in source.images()] == [
        b"P6\n2 2\n255\n" + PIXELS[:12],
        b"P6\n2 2\n255\n" + PIXELS[12:],
    ]
    assert source.label_names == []
    gray = opened(written(tmp_path, "y", data_files.idx(PIXELS, 1, 4, 6, 1)))
    assert [image.data for image in gray.images()] == [b"P5\n6 4\n255\n" + PIXELS]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"),
        ("images", "labels"),
        ("train-idx4-ubyte", "train-idx1-ubyte"),
    ],
)
def test_names_of_idx_labels(images, labels, tmp_path):
    for name, data in ((images, data_files.idx(PIXELS, 2, 3, 4)), (labels, data_files.idx([1, 255], 2))):
        written(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    source = opened(tmp_path / images, group_pattern=r"\[(\d+)")
    assert [(image.label, image.group) for image in source.images()] == [("1", "0"), ("255", "1")]
    assert opened(tmp_path / images, labels="none").label_names == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (data_files.idx(PIXELS, 5, 2, 3), "holds less than the 5x2x3 bytes that its header announces"),
        (data_files.idx(PIXELS, 3, 2, 3), "holds more than the 3x2x3 bytes that its header announces"),
        (data_files.idx([], 2**32 - 1, 2**16, 2**16), "holds less than"),
        (data_files.idx([], 0, 28, 28), "holds no images: its header says 0x28x28"),
        (
            data_files.idx(PIXELS, 24),
            "holds 24 values, no images; expected NxHxW, NxHxWx1 or NxHxWx3; give the file of",
        ),
        (data_files.idx(PIXELS, 6, 1, 2, 2), "holds 6x1x2x2 values, no images"),
        (data_files.idx(PIXELS * 4, 4, 2, 3, kind=0x0D), "holds values of type 0x0d; expected an IDX file of bytes"),
        (data_files.idx([], 3, 4, 5)[:9], "is cut short or damaged"),
    ],
)
def test_idx_files_that_do_not_hold_images(data, message, pack, tmp_path):
    assert message in refusal(written(tmp_path, "images", pack(data)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (data_files.idx([1, 2, 3], 3), "labels holds 3 labels, but"),
        (data_files.idx([1], 2), "labels is cut short or damaged"),
        (b"not labels", "labels holds no IDX data"),
        (b"", "labels holds no IDX data"),
        (gzip.compress(data_files.idx([1, 2], 2))[:-12], "labels is cut short or damaged"),
    ],
)
def test_idx_labels_that_do_not_fit(labels, message, tmp_path):
    written(tmp_path, "labels", labels)
    assert message in refusal(written(tmp_path, "images", data_files.idx(PIXELS, 2, 3, 4)))


def test_an_idx_file_has_no_class_folders(tmp_path):
    target = written(tmp_path, "images", data_files.idx(PIXELS, 2, 3, 4))
    assert "--labels=folder is not for an IDX file" in refusal(target, labels="folder")


def test_an_idx_file_that_is_cut_while_it_is_read(tmp_path):
    target = written(tmp_path, "images", data_files.idx(PIXELS, 4, 2, 3))
    source = opened(target)
    target.write_bytes(target.read_bytes()[:-3])
    assert [image.fault for image in source.images()] == [None, None, None, "is cut short"]
    packed = written(tmp_path, "packed", gzip.compress(data_files.idx(PIXELS, 4, 2, 3)))
    source = opened(packed)
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(RunError, match="packed has changed since it was opened"):
        list(source.images())


# Anything else


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jpg", b"\xff\xd8\xff\xe0", "is a single image; give the folder that it lies in"),
        ("x", b"\x89PNG\r\n", "is a single image"),
        ("x.webp", b"?", "is a single image"),
        ("x.rar", b"Rar!\x1a\7\1\0", "begins with b'Rar!\\x1a\\x07\\x01\\x00'; expected a folder, a zip or tar file"),
        ("x.zip", b"", "is empty; expected a folder"),
        ("x.gz", gzip.compress(b"text"), "holds neither a tar file nor an IDX file; expected a folder"),
        ("x.tar.gz", gzip.compress(b"text" * 9)[:-9], "is cut short or damaged; get it again"),
        ("x.tar.gz", b"\x1f\x8b\x08", "is cut short or damaged; get it again"),
        ("x.txt", b"cats/1.jpg", "begins with b'cats/1.jpg'"),
    ],
)
def test_what_is_no_source_is_refused(name, content, message, root):
    assert message in refusal(written(root, name, content))


def test_an_input_that_is_not_there_is_refused(root):
    assert refusal(f"{root}/nothing") == (
        f"--input={root}/nothing does not exist; expected a folder, a zip or tar file, a .csv file or an IDX file"
    )


def test_the_content_tells_what_a_file_is(tmp_path):
    assert data_of(opened(written(tmp_path, "a.csv", data_files.zipped(TREE)))) == TREE
    assert data_of(opened(written(tmp_path, "b.jpg", data_files.tarred(TREE, "xz")))) == TREE
