"""The arena against the submissions of `corpus`: the verdict of the check, contests, workers that lie, the sandbox."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import types

import corpus
import numpy as np
import pytest
import record_files

from gan import pictures, records, storage
from gan.arena import check, check_report, player, sandbox, snapshot, wire, worker
from gan.arena.player import Player
from gan.errors import Fault, SubmissionError
from gan.tournament import TournamentOptions, tournament

GOOD = {"Gold": corpus.GOLD, "Silver": corpus.SILVER, "Bronze": corpus.BRONZE}
QUICK_CHECKS = {
    *("shows_a_secret", "writes_when_restored", "recursion", "segmentation_fault", "terminal_codes_in_a_name"),
    *("logits", "batch_norm_by_hand", "never_sure"),
}
QUICK_CONTESTS = {"html_in_a_name", "dies_in_a_match"}


def entries(quick):
    """All entries of the corpus; those that are not quick are marked so."""
    return [pytest.param(name, marks=() if quick(name) else pytest.mark.exhaustive) for name in corpus.ENTRIES]


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A folder with the good teams and record files of real images."""
    folder = tmp_path_factory.mktemp("field")
    for name, strength in GOOD.items():
        corpus.team(folder / name, strength)
    record_files.write_images(folder / "real.tfrecords", corpus.real_images(80))
    return folder


@pytest.fixture(scope="module")
def examples(field):
    return check.Examples(corpus.CONTEST, records.read(str(field / "real.tfrecords"), corpus.CONTEST.image_shape))


@pytest.fixture
def traps(tmp_path):
    """The `corpus.Traps` of a test; afterwards they must be as before, and no worker may be left."""
    return corpus.Traps(tmp_path / "traps")


@contextlib.contextmanager
def untouched(traps, folder):
    """Within the block nothing in the traps may be changed or made, and its processes must have ended."""
    before = traps.state()
    yield
    assert traps.state() == before
    deadline = time.monotonic() + 5
    while left := processes_about(folder):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def processes_about(folder):
    """Command lines of processes that name a folder."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [line] if str(folder) in line else []
    return found


def checked(folder, store, sandboxed, examples, time_limit):
    """Returns the `check.Report` of a folder, as the organiser makes it."""
    try:
        files = snapshot.take(storage.path(folder), storage.path(store))
    except SubmissionError as error:
        return check_report.of_failure(str(error))
    with Player(files, sandboxed, time_limit) as player:
        return check_report.of_snapshot(files, player, examples)


@pytest.mark.parametrize(
    "name", entries(lambda name: name in QUICK_CHECKS or corpus.ENTRIES[name].rule == corpus.FILES)
)
def test_the_check_says_what_is_wrong(name, tmp_path, traps, sandbox_mode, examples):
    entry = corpus.ENTRIES[name]
    entry.build(tmp_path / "team", traps)
    with untouched(traps, tmp_path):
        report = checked(tmp_path / "team", tmp_path / "store", sandbox_mode == "require", examples, entry.time_limit)
    if entry.status == check.FAIL:
        assert re.match(f"{re.escape(entry.rule)}: .*({entry.says})", report.first_failure())
    else:
        assert report.first_failure() is None
        messages = [f.message for f in report.findings if (f.rule, f.status) == (entry.rule, check.WARN)]
        assert [bool(re.search(entry.says, message)) for message in messages] == ([True] if entry.rule else [])
        assert (entry.rule in report.warned()) == (entry.rule is not None)
    assert all(finding.message.isprintable() and len(finding.message) < 1100 for finding in report.findings)
    assert "Traceback" not in "".join(finding.message for finding in report.findings)
    assert report.samples is None or corpus.Traps.CANARY.encode() not in report.samples.tobytes()


# Contests.


@pytest.fixture
def signals():
    """A contest sets signal handlers of its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def contest(field, fourth, output, mode, time_limit):
    """Plays a knock-out of the good teams and a fourth one; returns the overview."""
    teams = {**{name: field / name for name in GOOD}, "Fourth": fourth}
    (output.parent / "teams.csv").write_text(
        "name,submission\n" + "".join(f"{name},{folder}\n" for name, folder in teams.items())
    )
    return tournament(
        TournamentOptions(
            teams=str(output.parent / "teams.csv"),
            input_data_pattern=str(field / "real.tfrecords"),
            image_height=corpus.CONTEST.height,
            image_width=corpus.CONTEST.width,
            latent_size=corpus.CONTEST.latent_size,
            output_dir=str(output),
            sandbox=mode,
            time_limit=time_limit,
            tie_break="seed",
            seed=3,
        )
    )


@pytest.mark.parametrize("name", entries(lambda name: name in QUICK_CONTESTS))
def test_a_contest_survives(name, field, tmp_path, traps, sandbox_mode, signals, capsys):
    entry = corpus.ENTRIES[name]
    entry.build(tmp_path / "team", traps)
    with untouched(traps, tmp_path):
        overview = contest(field, tmp_path / "team", tmp_path / "contest", sandbox_mode, entry.time_limit)
    assert overview["status"] == "finished"
    teams = {team["name"]: team for team in overview["teams"]}
    assert teams["Gold"]["place"] == 1
    fourth = teams["Fourth"]
    match = next(match for match in overview["matches"] if fourth["slug"] in (match["a"], match["b"]))
    result = json.loads((tmp_path / "contest" / match["folder"] / "match.json").read_text())
    assert match["winner"] != fourth["slug"]
    side = "a" if match["a"] == fourth["slug"] else "b"
    if entry.may_battle:
        assert fourth["forfeit"] is None
        assert match["decided_by"] == "score"
        failures = failures_of(result, side)
        assert any(role == entry.failing for role, _ in failures) == (entry.failing is not None)
        for role, reason in failures:  # who uses up all the time has none left for the other half
            assert re.search(entry.reason if role == entry.failing else "time limit exceeded", reason)
    else:
        assert re.match(f"{re.escape(entry.rule)}: .*({entry.says})", fourth["forfeit"])
        assert (match["decided_by"], result["decided_by"]) == ("forfeit", "forfeit")
        assert fourth["forfeit"] in result["reason"]
        assert result["teams"][side]["forfeit"] == fourth["forfeit"]
    said = capsys.readouterr().out
    assert "Traceback" not in said
    assert all(line.isprintable() for line in said.splitlines())
    assert_nothing_leaks(tmp_path / "contest")


def failures_of(result, side):
    """[(role, reason)] of a match's failures, which all must be of one side."""
    failures = []
    for played in result["rounds"]:
        for direction in played["directions"]:
            if failure := direction["failure"]:
                assert direction[failure["side"]] == side
                assert direction["points"] == (direction["out_of"] if failure["side"] == corpus.G else 0)
                failures.append((failure["side"], failure["reason"]))
    return failures


def assert_nothing_leaks(folder):
    """No page, result or picture of a contest holds the secret, nor a stranger's HTML."""
    canary = corpus.Traps.CANARY.encode()
    for file in folder.rglob("*"):
        if file.is_file() and "snapshots" not in file.parts:
            content = file.read_bytes()
            assert canary not in content
            assert file.suffix != ".html" or (b"<img src=x" not in content and b"\x1b" not in content)
    for file in folder.glob("matches/*/*.png"):
        image = pictures.decode(file.read_bytes())
        cells = pictures.cells(image, corpus.CONTEST.image_shape, 10, 30)
        assert canary not in cells.tobytes()


# Workers that do not behave. Each is a small program in the place of a worker.

_PROGRAM = """
import json, os, struct, sys, time
def read():
    header, body = struct.unpack(">II", sys.stdin.buffer.read(8))
    return json.loads(sys.stdin.buffer.read(header)), sys.stdin.buffer.read(body)
def write(text, body=b"", lengths=None):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    sys.stdout.buffer.write(struct.pack(">II", *(lengths or (len(text), len(body)))) + text + body)
    sys.stdout.flush()
def described(dtype, shape, body):
    read()
    write({"dtype": dtype, "shape": shape}, body)
    time.sleep(60)
"""
LIARS = {
    "exits": ("sys.exit(0)", r"the worker ended without an answer \(exit code 0\)"),
    "exits with the last word": (
        r"read(); sys.stderr.write('\x1b[2Jwiped <b>'); sys.exit(3)",
        r"\(exit code 3\); its last words: \\x1b\[2Jwiped <b>$",
    ),
    "is killed": ("read(); os.kill(os.getpid(), 9)", r"\(killed by SIGKILL\)"),
    "does nothing": ("time.sleep(60)", "time limit exceeded: the limit was 0.6 seconds"),
    "floods the error stream": ("while True: os.write(2, b'x' * 65536)", "time limit exceeded"),
    "floods its output": (
        "while True: os.write(1, b'x' * 65536)",
        "a message of 2021161080|without being asked",
    ),
    "sends half a message": ("read(); write(b'{\"a', lengths=(50, 0)); time.sleep(60)", "time limit exceeded"),
    "sends a byte now and then": (
        "read(); os.write(1, struct.pack('>II', 60000, 0))\nwhile True: os.write(1, b' '); time.sleep(0.01)",
        "time limit exceeded",
    ),
    "closes its output": ("read(); os.close(1); time.sleep(60)", r"\(it closed its output\)"),
    "ends in the middle": ("read(); write(b'{}', lengths=(50, 0)); sys.exit(0)", r"\(exit code 0\)"),
    "announces gigabytes": (
        "read(); write(b'', lengths=(2, 1 << 31)); time.sleep(60)",
        r"of 2 \+ 2147483648 bytes",
    ),
    "speaks no JSON": ("read(); write(b'hello'); time.sleep(60)", "a header that is not JSON"),
    "speaks no text": ("read(); write(bytes(range(200, 250))); time.sleep(60)", "a header that is not JSON"),
    "nests deeply": ("read(); write(b'[' * 60000); time.sleep(60)", "a header that is not JSON"),
    "sends a list": ("read(); write([1]); time.sleep(60)", "a header that is no object"),
    "sends a very long number": ("read(); write(b'{\"a\": ' + b'9' * 9999 + b'}'); time.sleep(60)", "that is not JSON"),
    "sends no array": ("read(); write({}); time.sleep(60)", "the worker answered without an output"),
    "sends bytes alone": ("read(); write({}, b'1234'); time.sleep(60)", "bytes without a description"),
    "sends objects": ("described('|O', [1], b'12345678')", "an array of no known type or shape"),
    "sends a type that is a list": ("described(['<f4'], [1], b'1234')", "an array of no known type or shape"),
    "sends a negative size": ("described('<f4', [-1], b'1234')", "an array of no known type or shape"),
    "sends a true size": ("described('<f4', [True], b'1234')", "an array of no known type or shape"),
    "sends no shape": ("described('<f4', None, b'1234')", "an array of no known type or shape"),
    "sends too few bytes": ("described('<f4', [2, 2], b'1234')", "an array whose shape and bytes differ"),
    "sends huge sizes": ("described('<f4', [4294967295] * 8, b'1234')", "an array whose shape and bytes differ"),
    "sends nothing of a huge shape": ("described('<f4', [1 << 31] * 7 + [0], b'')", "of no known type or shape"),
    "sends many axes": ("described('<f4', [1] * 9, b'1234')", "an array of no known type or shape"),
    "gives a long reason": ("read(); write({'fault': 'x' * 60000}); time.sleep(60)", "^x{1000}...$"),
    "gives an odd reason": (
        r"read(); write({'fault': {'\x1b[2J': None}}); time.sleep(60)",
        r"^\{'\\+x1b\[2J'",
    ),
    "leaves a child that talks": (
        "read(); os.close(1)\nif os.fork(): os._exit(0)\nwhile True: os.write(2, b'x' * 65536)",
        r"\(exit code 0\)",
    ),
}


@pytest.fixture
def lying(field, tmp_path, monkeypatch):
    """Makes a `Player` whose worker is a program of the test's own."""
    files = snapshot.take(storage.path(field / "Gold"), storage.path(tmp_path / "store"))
    started = []

    def make(program, time_limit=0.6, beginning="write({})\n"):
        def start(*_):
            pipe = subprocess.PIPE
            line = [sys.executable, "-S", "-c", _PROGRAM + beginning + program]
            started.append(subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True))
            return started[-1]

        monkeypatch.setattr(sandbox, "start", start)
        return Player(files, False, time_limit)

    yield make
    assert all(process.poll() is not None for process in started)


@pytest.mark.parametrize("program, says", LIARS.values(), ids=LIARS)
def test_a_lying_worker_is_a_fault_with_a_reason(program, says, lying):
    with lying(program) as player:
        begin = time.monotonic()
        with pytest.raises(Fault, match=says) as fault:
            player.generate(np.zeros((2, 5), np.float32))
        assert time.monotonic() - begin < 4
    assert str(fault.value).isprintable()


@pytest.mark.parametrize("program", [LIARS["exits"][0], LIARS["speaks no JSON"][0], LIARS["sends no array"][0]])
def test_a_lying_worker_fails_the_check(program, lying, examples):
    report = check.Report()
    with lying(program) as player:
        check.run(player, examples, report)
    assert not report.may_battle
    assert report.samples is None


@pytest.mark.parametrize("size", ["True", "'5'", "-1", "10**4000", "[5]", "None"])
def test_a_size_that_is_none_is_no_traceback(size, lying, examples):
    with lying(f"while True: read(); write({{'input_size': {size}}})") as player:
        report = check.Report()
        check.run(player, examples, report)
    assert not report.may_battle
    assert all(finding.message.isprintable() for finding in report.findings)


def test_a_request_that_nobody_reads_ends_with_the_time_limit(lying):
    with lying("time.sleep(60)") as player, pytest.raises(Fault, match="time limit exceeded"):
        player.discriminate(np.zeros((50_000, 12), np.float32))


def test_the_start_of_a_worker_is_not_its_teams_time(lying, tmp_path, monkeypatch):
    """On a machine that does much else, a process may take longer to start than a team has for its part."""
    now, gate = [0.0], tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(player, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    answer = "read(); write({'dtype': '<f4', 'shape': [1]}, b'1234')"
    with (
        lying(answer, beginning=f"open({str(gate)!r}).close(); write({{}})\n") as late,
        concurrent.futures.ThreadPoolExecutor(1) as thread,
    ):
        images = thread.submit(late.generate, np.zeros((2, 5), np.float32))
        with open(gate, "w"):  # once the worker opens it too
            now[0] += 100
        assert images.result().shape == (1,)


def test_a_worker_that_does_not_start_is_a_fault(lying, monkeypatch):
    monkeypatch.setattr(player, "START_SECONDS", 0.2)
    with lying("time.sleep(60)", beginning="") as never, pytest.raises(Fault, match=r"not started within 0\.2 seconds"):
        never.generate(np.zeros((2, 5), np.float32))


def test_an_answer_that_comes_before_the_question_is_refused(lying):
    """Whoever knows the question, as with the timed calls, could look faster than it is."""
    answer = "write({'dtype': '<f4', 'shape': [1]}, b'1234')"
    with lying(f"while True: read(); {answer}; {answer}") as player:
        assert player.generate(np.zeros((2, 5), np.float32)).shape == (1,)
        time.sleep(0.2)
        with pytest.raises(Fault, match="the worker wrote without being asked"):
            player.generate(np.zeros((2, 5), np.float32))


def test_a_worker_that_died_is_started_anew(lying):
    with lying("read(); write({'dtype': '<f4', 'shape': [1]}, b'1234')") as player:
        for _ in range(3):
            assert player.generate(np.zeros((2, 5), np.float32)).shape == (1,)
            time.sleep(0.1)
            with pytest.raises(Fault, match="ended without an answer"):
                player.generate(np.zeros((2, 5), np.float32))


def test_what_nobody_thought_of_is_a_reason_too(monkeypatch):
    def load(*_):
        raise AttributeError("odd\x07 model\nsecond line")

    monkeypatch.setattr(worker.submission, "load", load)
    answer = worker._answer({}, pathlib.Path("nowhere"), None, {"role": corpus.G}, None)
    header, _ = wire.unpack(answer[wire.LENGTHS.size :], b"")
    assert header == {"fault": r"unexpected AttributeError: odd\x07 model"}


# The sandbox.

_PROBE = """
import json, os, pathlib, socket, subprocess, sys
secret, home, port = sys.argv[1:]
def fails(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__
    return None
def fill():
    with open("/tmp/big", "wb") as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
print(json.dumps({
    "secret": fails(lambda: open(secret).read()),
    "passwd": fails(lambda: open("/etc/passwd").read()),
    "home": sorted(os.listdir(home)) if os.path.isdir(home) else [],
    "environment": sorted(os.environ),
    "environments": [name for name in os.listdir("/proc") if name.isdigit() and b"CREDENTIAL" in
                     pathlib.Path("/proc", name, "environ").read_bytes()],
    "connect": fails(lambda: socket.create_connection(("127.0.0.1", int(port)), 2)),
    "abstract": fails(lambda: socket.socket(socket.AF_UNIX).connect("\\0gan-test-" + port)),
    "devices": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "submission": os.listdir("/submission"),
    "write submission": fails(lambda: open("/submission/new", "w")),
    "write file": fails(lambda: open("/submission/checkpoint", "a")),
    "write root": fails(lambda: open("/new", "w")),
    "write package": fails(lambda: open(os.path.join(sys.prefix, "new"), "w")),
    "fill": fails(fill),
    "unshare": subprocess.run(["unshare", "-U", "true"], capture_output=True).returncode,
    "mount": subprocess.run(["mount", "-o", "remount,rw", "/"], capture_output=True).returncode,
}))
"""


@pytest.fixture(scope="module")
def seen_from_inside(tmp_path_factory):
    """What a program sees that is started as a worker is."""
    if sandbox.obstacle():
        pytest.skip(sandbox.obstacle())
    folder = tmp_path_factory.mktemp("inside")
    (folder / "model").mkdir()
    (folder / "model" / "checkpoint").write_text("mine")
    (folder / "secret.txt").write_text("a secret")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        pytest.MonkeyPatch.context() as patch,
    ):
        port = str(server.getsockname()[1])
        abstract.bind(f"\0gan-test-{port}")
        abstract.listen()
        patch.setenv("FAKE_CREDENTIAL", "token")
        patch.setattr(subprocess, "Popen", probe_instead(str(folder / "secret.txt"), os.path.expanduser("~"), port))
        output, errors = sandbox.start(folder / "model", ["", "4096", "60"], True).communicate(timeout=60)
    assert os.listdir(folder / "model") == ["checkpoint"]
    assert not errors
    return json.loads(output)


def probe_instead(*arguments):
    """A `Popen` that starts the probe where a worker would be started, with everything else as it is."""
    popen = subprocess.Popen

    def start(line, **settings):
        return popen([*line[: line.index("--") + 1], sys.executable, "-c", _PROBE, *arguments], **settings)

    return start


def test_a_worker_sees_no_file_but_its_own(seen_from_inside):
    assert seen_from_inside["secret"] == "FileNotFoundError"
    assert seen_from_inside["passwd"] == "FileNotFoundError"
    assert seen_from_inside["submission"] == ["checkpoint"]
    home = pathlib.Path.home()
    shown = [folder.relative_to(home).parts[0] for folder in sandbox._shown_folders() if home in folder.parents]
    assert set(seen_from_inside["home"]) <= set(shown)


def test_a_worker_sees_nothing_of_the_environment(seen_from_inside):
    assert set(seen_from_inside["environment"]) <= {*sandbox._environment(), "PWD", "LC_CTYPE"}
    assert seen_from_inside["environments"] == []
    assert seen_from_inside["processes"] <= 3


def test_a_worker_has_no_network(seen_from_inside):
    assert seen_from_inside["connect"] in {"ConnectionRefusedError", "OSError"}
    assert seen_from_inside["abstract"] == "ConnectionRefusedError"


def test_a_worker_writes_nowhere_and_gains_no_rights(seen_from_inside):
    for name in ("submission", "file", "root", "package"):
        assert seen_from_inside[f"write {name}"] in {"OSError", "PermissionError"}, name
    assert seen_from_inside["fill"] == "OSError"
    assert seen_from_inside["unshare"] != 0
    assert seen_from_inside["mount"] != 0


def test_two_workers_do_not_see_each_other(field, tmp_path, sandbox_mode):
    if sandbox_mode == "off":
        pytest.skip(sandbox.obstacle())
    files = [snapshot.take(storage.path(field / name), storage.path(tmp_path / name)) for name in ("Gold", "Silver")]
    with Player(files[0], True, 30) as one, Player(files[1], True, 30) as other:
        noise = np.zeros((2, corpus.CONTEST.latent_size), np.float32)
        difference = other.generate(noise) - one.generate(noise)
        pids = {player._worker._process.pid for player in (one, other)}
        inside = {os.readlink(f"/proc/{child}/ns/mnt") for pid in pids for child in children(pid)}
    assert difference[0, 0] == pytest.approx(corpus.SILVER[0] - corpus.GOLD[0], abs=1e-6)
    assert len(inside) >= 2
    assert os.readlink("/proc/self/ns/mnt") not in inside


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
