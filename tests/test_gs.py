"""Google Cloud Storage as a file system, against a server that also breaks down."""

import errno
import io
import os

import emulator
import numpy as np
import pytest

from gan import gs, storage, training_state
from gan.errors import InputError, RunError

LARGE = 9 << 20  # bytes; more than the library sends in one request


@pytest.fixture
def bucket(storage_server):
    return storage.path(storage_server.bucket("team-a"))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(gs, "TIMEOUT", (1, 0.5))


def test_paths_stay_in_the_bucket(bucket):
    file = bucket / "model" / "checkpoint"
    assert str(file) == "gs://team-a/model/checkpoint" and not storage.is_local(file)
    assert str(file.parent) == "gs://team-a/model" and file.name == "checkpoint"
    assert storage.path(file) == file


@pytest.mark.parametrize("text", ["gs://", "gs:///x", "gs://Team/x", "gs://ab", "gs://team a/x", "gs://-team"])
def test_a_path_names_a_bucket(text):
    with pytest.raises(InputError, match=r"no name of a bucket; expected gs://NAME/\.\.\."):
        storage.path(text)


def test_folders_are_there_while_something_is_in_them(bucket):
    assert bucket.is_dir() and bucket.exists() and list(bucket.iterdir()) == []
    storage.write_text(bucket / "a-b" / "one", "1")
    storage.write_text(bucket / "a", "a file beside a folder")
    assert (bucket / "a-b").is_dir() and not (bucket / "a").is_dir() and not (bucket / "a-").exists()
    assert (bucket / "a-b").stat().is_directory and (bucket / "a").stat().length == 22
    (bucket / "a-b" / "one").unlink()
    assert not (bucket / "a-b").exists()
    for call in (lambda f: list(f.iterdir()), lambda f: f.rmtree(), lambda f: f.stat(), lambda f: f.unlink()):
        with pytest.raises(FileNotFoundError):
            call(bucket / "a-b")
    (bucket / "a-b").rmtree(missing_ok=True)
    (bucket / "a-b").unlink(missing_ok=True)


def test_a_whole_bucket_is_never_emptied(bucket):
    storage.write_text(bucket / "one", "1")
    with pytest.raises(InputError, match="is a whole bucket, which is never emptied"):
        bucket.rmtree()
    with pytest.raises(InputError, match="is a whole bucket; name a file in it"):
        storage.write_text(bucket, "1")
    assert (bucket / "one").exists()


def test_objects_that_are_no_files_are_passed_over(bucket, storage_server):
    storage.write_text(bucket / "model" / "checkpoint", "x")
    objects = storage_server.objects("team-a")
    for name in ("model/", "model//x", "model/../../etc/passwd", "model/./y"):
        objects[name] = {**objects["model/checkpoint"], "name": name}
    assert [entry.name for entry in (bucket / "model").iterdir()] == ["checkpoint"]
    assert storage.files_below(bucket) == [bucket / "model" / "checkpoint"]


def test_patterns_look_into_folders(bucket):
    for name in ("faces/a/1.x", "faces/b/1.x", "faces/b/2.y", "faces/.hidden.x", "faces/1.x/deep"):
        storage.write_text(bucket / name, name)
    found = storage.expand("gs://team-a/faces/*/*.x,gs://team-a/f*s/[ab]/2.?")
    assert [str(file).removeprefix("gs://team-a/faces/") for file in found] == ["a/1.x", "b/1.x", "b/2.y"]
    for pattern in ("gs://team-a/faces/*.x", "gs://team-a/none/*", "gs://no-such-bucket/*"):
        with pytest.raises(InputError, match="no file matches"):
            storage.expand(pattern)


def test_large_files_are_read_in_pieces_and_from_any_place(bucket, storage_server):
    data = os.urandom(LARGE)
    storage.write_bytes(bucket / "large", data)
    with (bucket / "large").open("rb") as reader:
        assert reader.read(1000) == data[:1000]
        assert reader.seek(-10, os.SEEK_END) == LARGE - 10 and reader.read() == data[-10:]
        assert reader.seek(5_000_000) == 5_000_000 and reader.read(2_000_000) == data[5_000_000:7_000_000]
        assert reader.tell() == 7_000_000 and reader.read() == data[7_000_000:] and reader.read(1) == b""
    before = storage_server.count("GET", "alt=media")
    assert (bucket / "large").read_bytes() == data
    assert storage_server.count("GET", "alt=media") == before + 1


@pytest.mark.parametrize("changes", [False, True])
def test_a_download_that_broke_off_goes_on(changes, bucket, tmp_path, storage_server):
    size = 3 * LARGE
    data = os.urandom(size)
    storage.write_bytes(bucket / "large", data)
    target = storage.path(str(tmp_path)) / "folder" / "large"
    storage_server.order(emulator.refused(403), "GET", "alt=media", times=emulator.ALWAYS, spared=1)
    with pytest.raises(PermissionError):
        storage.copy_file(bucket / "large", target)
    assert not target.exists() and len(list(target.parent.iterdir())) == 1
    storage_server.repair()
    if changes:
        data = os.urandom(size)
        storage.write_bytes(bucket / "large", data)
    before = storage_server.count("GET", "alt=media")
    storage.copy_file(bucket / "large", target)
    assert target.read_bytes() == data
    pieces = -(-size // (8 << 20))
    assert storage_server.count("GET", "alt=media") - before == (pieces if changes else pieces - 1)
    storage.copy_file(bucket / "large", target)
    assert storage_server.count("GET", "alt=media") - before == (pieces if changes else pieces - 1), "it is there"


def test_a_damaged_part_of_a_download_is_dropped(bucket, tmp_path):
    storage.write_bytes(bucket / "file", b"0123456789")
    target = storage.path(str(tmp_path)) / "file"
    (target.parent / f".file.{gs.find(bucket / 'file').generation}.part").write_bytes(b"01x")
    with pytest.raises(OSError, match="changed meanwhile"):
        storage.copy_file(bucket / "file", target)
    storage.copy_file(bucket / "file", target)
    assert target.read_bytes() == b"0123456789"


def test_what_is_written_appears_whole_or_not_at_all(bucket):
    storage.write_text(bucket / "page", "old")
    with (bucket / "page").open("wb") as writer:
        writer.write(b"new")
        assert (bucket / "page").read_text() == "old"
    assert (bucket / "page").read_text() == "new"
    with pytest.raises(ZeroDivisionError), storage.replacing(bucket / "page") as writer:
        writer.write(b"newer")
        _ = 1 / 0
    assert (bucket / "page").read_text() == "new"


def test_text_appears_whole_or_not_at_all(bucket):
    storage.write_text(bucket / "page", "old")
    with pytest.raises(ZeroDivisionError), (bucket / "page").open("w") as writer:
        writer.write("half of it")
        _ = 1 / 0
    assert (bucket / "page").read_text() == "old"
    with (bucket / "page").open("w") as writer:
        writer.write("new")
    assert (bucket / "page").read_text() == "new"


def test_a_log_keeps_what_it_was_told_before_an_error(bucket):
    with pytest.raises(ZeroDivisionError), (bucket / "train.log").open("a") as writer:
        writer.write("one\n")
        _ = 1 / 0
    assert (bucket / "train.log").read_text() == "one\n"


def test_lines_that_could_not_be_sent_are_sent_with_the_next(bucket, storage_server):
    with (bucket / "train.log").open("a") as writer:
        writer.write("one\n")
        storage_server.order(emulator.refused(403), "POST")
        with pytest.raises(PermissionError):
            writer.flush()
    assert (bucket / "train.log").read_text() == "one\n"


def test_a_log_grows(bucket):
    log = bucket / "train.log"
    with log.open("a") as writer:
        writer.write("one\n")
        writer.flush()
        assert log.read_text() == "one\n"
        writer.write("two\n")
    with log.open("a") as writer:
        writer.write("three\n")
    assert log.read_text() == "one\ntwo\nthree\n"


def test_a_browser_is_told_what_a_page_is(bucket, storage_server):
    storage.write_text(bucket / "index.html", "<html>")
    storage.write_bytes(bucket / "model.ckpt-1.meta", b"\0")
    page, model = (storage_server.objects("team-a")[name] for name in ("index.html", "model.ckpt-1.meta"))
    assert (page["contentType"], page["cacheControl"]) == ("text/html", "no-cache")
    assert model["contentType"] == "application/octet-stream"


@pytest.mark.parametrize("act", [emulator.refused(503), emulator.refused(429), emulator.reset, emulator.truncated])
@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_read_survives_a_fault(act, size, bucket, storage_server):
    data = os.urandom(size)
    storage.write_bytes(bucket / "file", data)
    storage_server.order(act, "GET", "alt=media")
    assert (bucket / "file").read_bytes() == data
    assert storage_server.count("GET", "alt=media") == 2


def test_a_read_survives_silence(bucket, storage_server, impatient):
    storage.write_bytes(bucket / "file", b"0123456789" * 1000)
    storage_server.order(emulator.stalled, "GET", "alt=media")
    assert (bucket / "file").read_bytes() == b"0123456789" * 1000
    assert storage_server.count("GET", "alt=media") == 2


LATE = [emulator.lost(emulator.refused(503)), emulator.lost(emulator.reset)]


# The one request of a small file, the second of a large one; the emulator forgets an upload that has ended.
@pytest.mark.parametrize(
    "method, act",
    [(method, act) for method in ("POST", "PUT") for act in (emulator.refused(503), emulator.reset)]
    + [("POST", act) for act in LATE],
)
def test_a_write_survives_a_fault(method, act, bucket, storage_server):
    data = os.urandom(LARGE if method == "PUT" else 1000)
    storage_server.order(act, method)
    storage.write_bytes(bucket / "file", data)
    assert storage_server.content("team-a", "file") == data
    assert storage_server.count(method, "") >= 2


@pytest.mark.parametrize("act", [emulator.refused(503), emulator.reset, *LATE])
def test_what_is_deleted_or_moved_survives_a_fault(act, bucket, storage_server):
    for call in (
        lambda file: file.unlink(),
        lambda file: file.rename(bucket / "moved"),
        lambda file: file.parent.rmtree(),
    ):
        storage.write_text(bucket / "folder" / "file", "x")
        storage_server.order(act, "DELETE")
        call(bucket / "folder" / "file")
        assert not (bucket / "folder").exists()
    assert (bucket / "moved").read_text() == "x"


@pytest.mark.parametrize("act", [emulator.refused(503), emulator.reset, *LATE])
def test_a_generation_is_replaced_once_whatever_becomes_of_the_answer(act, bucket, storage_server):
    first = gs.send(io.BytesIO(b"one"), bucket / "file", replaces=0)
    storage_server.order(act, "POST")
    second = gs.send(io.BytesIO(b"two"), bucket / "file", replaces=first.generation)
    assert gs.find(bucket / "file") == second and second.generation != first.generation
    assert (bucket / "file").read_text() == "two"


@pytest.mark.parametrize("act", LATE)
def test_old_saves_are_dropped_whatever_becomes_of_the_answer(act, bucket, storage_server):
    folder = training_state.RunFolder(bucket)
    folder.save(1, {"a": np.zeros(1)}, keep=1)
    storage_server.order(act, "DELETE")
    folder.save(2, {"a": np.zeros(1)}, keep=1)
    assert folder.saved_steps() == [2]


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_that_changes_while_it_is_read_is_noticed(same_size, bucket, storage_server):
    file = bucket / "file"
    storage.write_bytes(file, b"old")
    storage_server.order(
        emulator.after(lambda: storage.write_bytes(file, b"new" * (1 if same_size else 2))), "GET", "alt=media"
    )
    with pytest.raises(OSError, match="changed meanwhile") as error:
        file.read_bytes()
    assert (error.value.errno, error.value.filename) == (errno.ESTALE, "gs://team-a/file")


def test_pieces_are_of_one_generation(bucket):
    storage.write_bytes(bucket / "file", bytes(LARGE))
    with (bucket / "file").open("rb") as reader:
        assert reader.read(10) == bytes(10)
        storage.write_bytes(bucket / "file", b"1" * LARGE)
        reader.seek(LARGE // 2)
        with pytest.raises(OSError, match="changed meanwhile"):
            reader.read(10)


def test_wrong_bytes_are_noticed_without_a_precondition(bucket, storage_server):
    storage.write_bytes(bucket / "file", b"0123456789")
    storage_server.objects("team-a")["file"]["crc32c"] = "AAAAAA=="
    with pytest.raises(OSError, match="changed meanwhile"), (bucket / "file").open("rb") as reader:
        assert [reader.read(4) for _ in range(3)]


def test_a_generation_is_replaced_or_nothing(bucket, storage_server):
    first = gs.send(io.BytesIO(b"one"), bucket / "file", replaces=0)
    assert gs.find(bucket / "file") == first
    assert storage.size_and_generation(bucket / "file") == (3, first.generation)
    with pytest.raises(OSError, match="changed meanwhile"):
        gs.send(io.BytesIO(b"two"), bucket / "file", replaces=0)
    second = gs.send(io.BytesIO(b"two"), bucket / "file", replaces=first.generation)
    assert second.generation != first.generation and (bucket / "file").read_text() == "two"


def test_a_missing_bucket_is_named(storage_server):
    file = storage.path("gs://no-such-bucket/file")
    assert not file.exists() and gs.find(file) is None
    for call in (file.read_bytes, lambda: storage.write_text(file, "x"), lambda: storage.size_and_generation(file)):
        with pytest.raises(FileNotFoundError, match="no such bucket or object") as error:
            call()
        assert error.value.filename == "gs://no-such-bucket/file"


@pytest.mark.parametrize("code", [401, 403])
def test_a_closed_bucket_is_named(code, bucket, storage_server):
    storage.write_text(bucket / "file", "x")
    for method, call in (
        ("GET", (bucket / "file").read_bytes),
        ("POST", lambda: storage.write_text(bucket / "f", "x")),
    ):
        storage_server.order(emulator.refused(code), method)
        with pytest.raises(PermissionError, match=r"no permission: .*run gcloud auth application-default login"):
            call()


def test_credentials_that_were_named_and_cannot_be_read_are_named(bucket, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    gs.forget_client()
    with pytest.raises(InputError, match=r"GOOGLE_APPLICATION_CREDENTIALS=/no/such/key\.json cannot be used: "):
        (bucket / "file").exists()


def test_a_broken_disk_here_is_not_the_services_fault(bucket):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error") as error:
        gs.send(Broken(b"x"), bucket / "file")
    assert error.value.errno == errno.EIO


def test_a_service_that_does_not_answer_is_named(bucket, storage_server, monkeypatch):
    monkeypatch.setattr(gs, "RETRY_SECONDS", 1)
    storage_server.order(emulator.refused(500), "GET", times=emulator.ALWAYS)
    with pytest.raises(RunError, match=r"^gs://team-a/file: Google Cloud Storage does not answer \(.+\); try again$"):
        (bucket / "file").exists()
    storage_server.close()
    with pytest.raises(RunError, match=r"does not answer \(.*refused\); try again$"):
        (bucket / "file").exists()
