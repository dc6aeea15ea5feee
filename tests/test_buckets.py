"""Submissions in teams' buckets: what is uploaded is what plays, and half of it never does."""

import json
import shutil

import corpus
import emulator
import pytest

from gan import gs, receipt, storage
from gan.arena import ledger, snapshot
from gan.arena import teams as team_list
from gan.cloud import transfer
from gan.errors import InputError, RunError, SubmissionError

STEP = corpus.PREFIX.rpartition("-")[2]


@pytest.fixture
def bucket(storage_server):
    return storage.path(storage_server.bucket("team-a"))


@pytest.fixture(scope="module")
def teams(tmp_path_factory):
    """Folders of three submissions: the second has the names of the first, the third another step."""
    folder = tmp_path_factory.mktemp("teams")
    for name, kind in (("first", corpus.GOLD), ("second", corpus.SILVER), ("third", corpus.BRONZE)):
        corpus.team(folder / name, kind)
        (folder / name / "source").mkdir()
        (folder / name / "source" / f"{name}.py").write_text(f"# {name}")
    for file in (folder / "third").glob(f"{corpus.PREFIX}.*"):
        file.rename(file.with_name(file.name.replace(f"-{STEP}.", "-100.")))
    checkpoint = folder / "third" / "checkpoint"
    checkpoint.write_text(checkpoint.read_text().replace(corpus.PREFIX, "model.ckpt-100"))
    return {name: storage.path(str(folder / name)) for name in ("first", "second", "third")}


def take(folder, store):
    return snapshot.take(folder, storage.path(str(store)))


def digest(folder, tmp_path):
    return take(folder, tmp_path / "local").digest


def upload(folder, bucket, tmp_path):
    files = take(folder, tmp_path / "local")
    names = {n if n.startswith("source/") else f"model/{n}": files.path / n for n in files.sha256}
    return transfer.upload(names, bucket, files.digest, {})


def names_in(storage_server):
    return set(storage_server.objects("team-a"))


def test_a_plain_folder_in_a_bucket_is_a_submission(teams, bucket, tmp_path):
    for file in storage.files_below(teams["first"]):
        storage.copy_file(file, bucket / "model" / file.relative_to(teams["first"]))
    files = take(bucket / "model", tmp_path / "store")
    assert files.digest == digest(teams["first"], tmp_path)
    assert files.generations == {name: gs.find(bucket / "model" / name).generation for name in files.sha256}


def test_what_is_uploaded_is_what_is_taken(teams, bucket, tmp_path, storage_server):
    done = upload(teams["first"], bucket, tmp_path)
    files = take(bucket / "model", tmp_path / "store")
    assert files.digest == done.receipt.snapshot == digest(teams["first"], tmp_path)
    assert "source/first.py" in files.sha256 and (bucket / "source" / "first.py").read_text() == "# first"
    assert done.receipt == receipt.parse((bucket / "model" / "receipt.json").read_bytes())
    assert set(done.sent) == set(done.receipt.files) == names_in(storage_server) - {"model/receipt.json"}
    assert done.receipt.files["model/checkpoint"].crc32c == gs.find(bucket / "model" / "checkpoint").crc32c


def test_the_same_again_sends_nothing_but_the_receipt(teams, bucket, tmp_path, storage_server):
    first = upload(teams["first"], bucket, tmp_path)
    before = storage_server.count("POST", "/upload/")
    again = upload(teams["first"], bucket, tmp_path)
    assert (again.sent, again.deleted, again.receipt.files) == ((), (), first.receipt.files)
    assert storage_server.count("POST", "/upload/") == before + 2


def test_a_known_snapshot_is_not_fetched_again(teams, bucket, tmp_path, storage_server):
    upload(teams["first"], bucket, tmp_path)
    files = take(bucket / "model", tmp_path / "store")
    before = storage_server.count("GET", "alt=media")
    assert take(bucket / "model", tmp_path / "store") == files
    assert storage_server.count("GET", "alt=media") == before + 1, "the receipt alone"
    storage.write_text(bucket / "model" / "checkpoint", "another")
    with pytest.raises(SubmissionError):
        take(bucket / "model", tmp_path / "store")


def test_the_next_upload_replaces_the_last_one(teams, bucket, tmp_path, storage_server):
    upload(teams["first"], bucket, tmp_path)
    storage.write_text(bucket / "source" / "notes.txt", "the team's own")
    done = upload(teams["third"], bucket, tmp_path)
    assert f"model/{corpus.PREFIX}.meta" in done.deleted and "source/first.py" in done.deleted
    assert names_in(storage_server) == {*done.receipt.files, "model/receipt.json", "source/notes.txt"}
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["third"], tmp_path)


def test_what_lies_beside_an_upload_is_no_part_of_it(teams, bucket, tmp_path):
    upload(teams["first"], bucket, tmp_path)
    for name in (f"model/{corpus.PREFIX}.data-00001-of-00002", "model/notes.txt", "source/of_somebody.py"):
        storage.write_text(bucket / name, name)
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["first"], tmp_path)


@pytest.mark.parametrize("after", ["second", "third"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_upload_that_breaks_off_anywhere_plays_whole_or_not_at_all(
    method, after, teams, bucket, tmp_path, storage_server
):
    upload(teams["first"], bucket, tmp_path)
    old, new = digest(teams["first"], tmp_path), digest(teams[after], tmp_path)
    spared, seen = 0, []
    while True:
        storage_server.order(emulator.refused(403), method, times=emulator.ALWAYS, spared=spared)
        try:
            upload(teams[after], bucket, tmp_path)
            broken = False
        except PermissionError:
            broken = True
        storage_server.repair()
        try:
            seen.append(take(bucket / "model", tmp_path / f"store{spared}").digest)
        except SubmissionError as error:
            assert "has not ended; run gan.submit_model again" in str(error)
            seen.append("refused")
        if not broken:
            break
        upload(teams["first"], bucket, tmp_path)
        spared += 1
    assert seen[-1] == new and set(seen[:-1]) <= {old, "refused"}
    assert spared >= 1 and "refused" in seen


def test_an_upload_that_broke_off_goes_on(teams, bucket, tmp_path, storage_server):
    storage_server.order(emulator.refused(403), "POST", times=emulator.ALWAYS, spared=3)
    with pytest.raises(PermissionError):
        upload(teams["first"], bucket, tmp_path)
    storage_server.repair()
    there = names_in(storage_server) - {"model/receipt.json"}
    done = upload(teams["first"], bucket, tmp_path)
    assert len(there) == 2 and set(done.sent) == set(done.receipt.files) - there
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["first"], tmp_path)


def test_a_late_request_of_a_killed_upload_changes_nothing(teams, bucket, tmp_path, storage_server):
    """What the service does with it follows from the generation that each names."""
    for name in ("first", "second"):
        upload(teams[name], bucket, tmp_path)
    sent = [path for method, path in storage_server.requests if method == "POST" and "/upload/" in path]
    assert len(sent) > 10 and all("ifGenerationMatch=" in path for path in sent)


def test_of_two_uploads_at_once_one_says_so(teams, bucket, tmp_path, storage_server):
    other = emulator.after(lambda: upload(teams["second"], bucket, tmp_path))
    storage_server.order(other, "POST", spared=1 + len(take(teams["first"], tmp_path / "local").sha256))
    with pytest.raises(RunError, match="gs://team-a: somebody else uploads there at this moment"):
        upload(teams["first"], bucket, tmp_path)
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["second"], tmp_path)


@pytest.mark.parametrize("spared", [0, 6])
@pytest.mark.parametrize("act", [emulator.refused(503), emulator.reset])
def test_a_receipt_whose_answer_is_lost_is_the_own_one(act, spared, teams, bucket, tmp_path, storage_server):
    storage_server.order(emulator.lost(act), "POST", spared=spared)
    done = upload(teams["first"], bucket, tmp_path)
    assert storage_server.count("POST", "/upload/") == 8  # two receipts, five files, and one of these again
    assert receipt.parse((bucket / "model" / "receipt.json").read_bytes()) == done.receipt
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["first"], tmp_path)


def test_two_referees_at_once_do_not_lose_one_anothers_decision(bucket, storage_server):
    contest = ledger.Ledger(bucket / "final")
    contest.add_decision("disqualify", "A", "late")
    other = emulator.after(lambda: contest.add_decision("disqualify", "B", "copied"))
    storage_server.order(other, "POST")
    contest.add_decision("disqualify", "C", "absent")
    assert [decision["subject"] for decision in contest.decisions()] == ["A", "B", "C"]


@pytest.mark.parametrize("act", [emulator.refused(503), emulator.reset])
def test_an_upload_survives_faults(act, teams, bucket, tmp_path, storage_server):
    for method in ("GET", "POST"):
        storage_server.order(act, method, spared=1)
    upload(teams["first"], bucket, tmp_path)
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["first"], tmp_path)


@pytest.mark.parametrize("then", ["first", "third"])
def test_taking_a_submission_goes_on_where_it_was_killed(then, teams, bucket, tmp_path, storage_server, monkeypatch):
    upload(teams["first"], bucket, tmp_path)

    def killed(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(storage, "publish_folder", killed)
        take(bucket / "model", tmp_path / "store")
    upload(teams[then], bucket, tmp_path)
    storage_server.requests.clear()
    files = take(bucket / "model", tmp_path / "store")
    assert files.digest == digest(teams[then], tmp_path)
    assert {f.relative_to(files.path).as_posix() for f in storage.files_below(files.path)} == {
        *files.sha256,
        "snapshot.json",
    }
    fetched = storage_server.count("GET", "alt=media")
    assert (fetched <= 1) == (then == "first"), "at most the receipt, where nothing has changed"
    assert [f.name for f in (tmp_path / "store").iterdir()] == [files.path.name]


@pytest.mark.parametrize("act", [emulator.refused(503), emulator.reset, emulator.truncated, emulator.stalled])
def test_taking_a_submission_survives_faults(act, teams, bucket, tmp_path, storage_server, monkeypatch):
    monkeypatch.setattr(gs, "TIMEOUT", (1, 1))
    upload(teams["first"], bucket, tmp_path)
    for pattern in ("receipt.json.*alt=media", "meta.*alt=media", "first.py.*alt=media"):
        storage_server.order(act, "GET", pattern)
    assert take(bucket / "model", tmp_path / "store").digest == digest(teams["first"], tmp_path)


@pytest.mark.parametrize("name", ["checkpoint", f"{corpus.PREFIX}.meta", "../source/first.py"])
@pytest.mark.parametrize("kind", ["overwritten", "deleted"])
def test_what_the_receipt_does_not_vouch_for_is_refused(kind, name, teams, bucket, tmp_path):
    upload(teams["first"], bucket, tmp_path)
    file = bucket / "source" / "first.py" if "source" in name else bucket / "model" / name
    data = file.read_bytes()
    file.unlink() if kind == "deleted" else storage.write_bytes(file, data)  # the same bytes, of another upload
    with pytest.raises(SubmissionError, match=r"run gan\.submit_model again|is missing|holds no submission"):
        take(bucket / "model", tmp_path / "store")


def test_a_local_copy_of_a_bucket_is_held_to_its_receipt(teams, bucket, tmp_path):
    upload(teams["first"], bucket, tmp_path)
    copy = storage.path(str(tmp_path / "copy"))
    storage.copy_files((file, copy / file.relative_to(bucket)) for file in storage.files_below(bucket))
    assert take(copy / "model", tmp_path / "store").digest == digest(teams["first"], tmp_path)
    (copy / "source" / "first.py").write_text("# other")
    with pytest.raises(SubmissionError, match=r"source/first\.py is not what receipt\.json names"):
        take(copy / "model", tmp_path / "store")
    shutil.rmtree(copy / "source")
    with pytest.raises(SubmissionError, match=r"source/first\.py is missing"):
        take(copy / "model", tmp_path / "store")


def test_an_object_that_changes_between_list_and_download_is_refused(teams, bucket, tmp_path, storage_server):
    for file in storage.files_below(teams["first"]):
        storage.copy_file(file, bucket / "model" / file.relative_to(teams["first"]))
    meta = bucket / "model" / f"{corpus.PREFIX}.meta"
    data = meta.read_bytes()
    storage_server.order(emulator.after(lambda: storage.write_bytes(meta, data)), "GET", r"\.meta.*alt=media")
    with pytest.raises(SubmissionError, match="changed meanwhile"):
        take(bucket / "model", tmp_path / "store")
    data_file = f"{corpus.PREFIX}.data-00000-of-00001"
    change = emulator.after(lambda: storage.write_bytes(meta, data))
    storage_server.order(change, "GET", rf"{data_file}\?.*alt=media")
    with pytest.raises(SubmissionError, match=r"\.meta changed while it was copied|changed meanwhile"):
        take(bucket / "model", tmp_path / "store")


@pytest.mark.parametrize("uploaded", [True, False])
def test_what_is_too_large_is_never_fetched(uploaded, teams, bucket, tmp_path, storage_server):
    if uploaded:
        upload(teams["first"], bucket, tmp_path)
    else:
        for file in storage.files_below(teams["first"]):
            storage.copy_file(file, bucket / "model" / file.relative_to(teams["first"]))
    storage_server.objects("team-a")[f"model/{corpus.PREFIX}.meta"]["size"] = str(10 << 30)
    with pytest.raises(SubmissionError, match=r"\.meta has 10737418240 bytes; at most \d+ are allowed here"):
        take(bucket / "model", tmp_path / "store")
    assert storage_server.count("GET", r"model\.ckpt.*alt=media") == 0


def test_a_huge_receipt_is_never_fetched(teams, bucket, tmp_path, storage_server):
    upload(teams["first"], bucket, tmp_path)
    storage_server.objects("team-a")["model/receipt.json"]["size"] = str(10 << 30)
    for call in (lambda: take(bucket / "model", tmp_path / "store"), lambda: upload(teams["first"], bucket, tmp_path)):
        with pytest.raises(InputError, match=r"10737418240 bytes"):
            call()
    assert storage_server.count("GET", "alt=media") == 0


def test_a_bucket_that_is_closed_is_the_teams_fault_and_silence_is_not(
    teams, bucket, tmp_path, storage_server, monkeypatch
):
    upload(teams["first"], bucket, tmp_path)
    storage_server.order(emulator.refused(403), "GET", times=emulator.ALWAYS)
    with pytest.raises(SubmissionError, match="no permission"):
        take(bucket / "model", tmp_path / "store")
    storage_server.close()
    monkeypatch.setattr(gs, "RETRY_SECONDS", 1)
    with pytest.raises(RunError, match="Google Cloud Storage does not answer"):
        take(bucket / "model", tmp_path / "store")


def test_a_team_list_may_lie_in_a_bucket(bucket):
    storage.write_text(bucket / "teams.csv", "name,submission\nA,gs://team-a/model\nB,gs://team-b/model\n")
    found = team_list.read(bucket / "teams.csv")
    assert [team.submission for team in found] == ["gs://team-a/model", "gs://team-b/model"]
    for file in (bucket / "none.csv", bucket, storage.path("gs://no-such-bucket/teams.csv")):
        with pytest.raises(InputError, match="no such file; expected a CSV file"):
            team_list.read(file)


WHOLE = receipt.Receipt(
    "2026-01-01T00:00:00+00:00",
    True,
    ("model/checkpoint",),
    {"model/checkpoint": receipt.File(3, "0" * 64, "AAAAAA==", 5)},
    "ab" * 32,
    {"gan_version": "1"},
)


def test_a_receipt_is_read_as_it_was_written():
    assert receipt.parse(json.dumps(WHOLE.as_json()).encode()) == WHOLE


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        {"format": 2},
        {"complete": "yes"},
        {"complete": None},
        {"time": 5},
        {"snapshot": None},
        {"snapshot": ""},
        {"snapshot": "../" * 22},
        {"facts": 3},
        {"objects": None},
        {"objects": ["model/../../x"]},
        {"files": []},
        {"files": {"model/checkpoint": {"bytes": 3}}},
        {"files": {"model/checkpoint": {"bytes": "3", "sha256": "0" * 64, "crc32c": "", "generation": 5}}},
        {"files": {"model/checkpoint": {"bytes": 3, "sha256": "0", "crc32c": "", "generation": 5}}},
        *(
            {"files": {name: WHOLE.as_json()["files"]["model/checkpoint"]}}
            for name in ("checkpoint", "/etc/x", "source/../x", "source//x", "source/a\0b", "source/", "model/\x1b[0m")
        ),
    ],
)
def test_a_damaged_receipt_is_refused(change):
    data = change if isinstance(change, bytes) else json.dumps(WHOLE.as_json() | change).encode()
    with pytest.raises(SubmissionError, match=r"receipt\.json is damaged \(.*\); run gan\.submit_model again"):
        receipt.parse(data)
