import concurrent.futures

import pytest

from gan import storage
from gan.errors import InputError

# TensorFlow's in-memory file system shows whether code is honest about paths that are not on the local disk.
ROOTS = ["local", "ram", "gs"]


@pytest.fixture(params=ROOTS)
def root(request, tmp_path):
    if request.param == "local":
        return storage.path(str(tmp_path))
    if request.param == "gs":
        return storage.path(request.getfixturevalue("storage_server").bucket("a-bucket")) / "folder"
    return storage.path(f"ram://{tmp_path.name}")


def test_written_files_are_read_again(root):
    storage.write_json(root / "a" / "b.json", {"x": [1, 2]})
    assert storage.read_json(root / "a" / "b.json") == {"x": [1, 2]}
    storage.write_text(root / "a" / "b.json", "new")
    assert (root / "a" / "b.json").read_text() == "new"
    assert [file.name for file in (root / "a").iterdir()] == ["b.json"]


def test_of_several_who_change_a_file_none_loses_what_another_did(root):
    with concurrent.futures.ThreadPoolExecutor(1 if str(root).startswith("ram:") else 2) as threads:
        list(threads.map(lambda n: storage.update_json(root / "a" / "b.json", lambda now: [*now, n], []), range(6)))
    assert sorted(storage.read_json(root / "a" / "b.json")) == list(range(6))


def test_patterns_name_files(root):
    for name in ("train-1.x", "train-0.x", "val.x"):
        storage.write_text(root / name, name)
    names = [file.name for file in storage.expand(f"{root}/train-*.x, {root}/val.x,{root}/v*.x")]
    assert names == ["train-0.x", "train-1.x", "val.x"]
    with pytest.raises(InputError, match=r"no file matches '.*/test\*'"):
        storage.expand(f"{root}/test*")
    with pytest.raises(InputError, match="no file pattern"):
        storage.expand(" , ")


def test_a_plain_name_may_hold_wildcard_characters(tmp_path):
    (tmp_path / "faces[1].x").write_text("")
    assert [file.name for file in storage.expand(f"{tmp_path}/faces[1].x")] == ["faces[1].x"]


def test_a_folder_is_no_pattern(tmp_path):
    with pytest.raises(InputError, match="is a folder; name its files"):
        storage.expand(str(tmp_path))


def test_a_published_folder_replaces_the_old_one(root, tmp_path):
    source = storage.path(str(tmp_path / "new"))
    storage.write_text(source / "sub" / "one", "1")
    storage.write_text(root / "target" / "stale", "0")
    storage.publish_folder(source, root / "target", last="one")
    assert [str(file.relative_to(root)) for file in storage.files_below(root / "target")] == ["target/sub/one"]


def test_files_are_copied_together(root, tmp_path):
    source = storage.path(str(tmp_path / "here"))
    names = [f"{number % 3}/{number}" for number in range(30)]
    for name in names:
        storage.write_text(source / name, name)
    storage.copy_files((source / name, root / "there" / name) for name in names)
    assert {str(file.relative_to(root / "there")) for file in storage.files_below(root / "there")} == set(names)
    assert all((root / "there" / name).read_text() == name for name in names)
    with pytest.raises(Exception, match="nothing"):
        storage.copy_files([(source / "nothing", root / "nothing")])


def test_a_folder_moves_with_all_that_is_in_it(root):
    storage.write_text(root / "old" / "sub" / "one", "1")
    storage.move(root / "old", root / "new")
    assert (root / "new" / "sub" / "one").read_text() == "1"
    assert not (root / "old" / "sub" / "one").exists()


def test_hash_is_sha256_of_the_bytes(root):
    storage.write_bytes(root / "f", b"abc")
    assert storage.sha256(root / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_unknown_schemes_and_empty_paths_are_refused():
    with pytest.raises(InputError, match="hdfs:// are not supported"):
        storage.path("hdfs://x/y")
    with pytest.raises(InputError, match="s3:// are not supported"):
        storage.path("s3://x/y")
    with pytest.raises(InputError, match="a path is empty"):
        storage.path("")
    with pytest.raises(InputError, match="local paths cannot begin with /ram"):
        storage.path("/ram/data")
