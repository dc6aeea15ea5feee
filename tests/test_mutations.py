"""Damage at random: every changed submission gets a verdict, and every changed message of a worker is refused or read.

A worker for each of a thousand submissions would take a quarter of an hour, most of it for importing TensorFlow. Here
one process imports it and forks: each submission still has a process of its own.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import corpus
import hypothesis
import numpy as np
import pytest
import record_files
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.protobuf import saved_model_pb2

from gan import records, spec, storage
from gan.arena import allowed_ops, check, check_report, sandbox, snapshot, wire
from gan.arena.player import Player
from gan.errors import SubmissionError

v1 = tf.compat.v1
QUICK, SLOW, CHUNK = 40, 1000, 100
TIME_LIMIT = 5.0
# Two models that are loaded, G, D and its time can use up a limit each; the rest is for a machine that is busy.
MOST_SECONDS = 5 * TIME_LIMIT + 10


# Workers that are forked.

_SERVER = """
import json, os, socket, sys
from gan.arena import worker
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, files, _, _ = socket.recv_fds(requests, 1 << 16, 3)
    if not message:
        break
    request = json.loads(message)
    if "argv" in request:
        pid = os.fork()
        if not pid:
            os.setpgid(0, 0)
            requests.close()
            for stream, file in enumerate(files):
                os.dup2(file, stream)
                os.close(file)
            code = 1
            try:
                worker.main(["worker", *request["argv"]])
                code = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        for file in files:
            os.close(file)
        answer = pid
    else:
        done, status = os.waitpid(request["pid"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if done else None
    requests.send(json.dumps(answer).encode())
"""


class Forks:
    """A process that has imported what a worker needs, and forks one at a time."""

    def __init__(self):
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line = [sys.executable, "-c", _SERVER, str(theirs.fileno())]
        self._process = subprocess.Popen(line, env=sandbox._environment(), pass_fds=[theirs.fileno()])
        theirs.close()

    def ask(self, request, files=()):
        socket.send_fds(self._requests, [json.dumps(request).encode()], files)
        return json.loads(self._requests.recv(1 << 10))

    def close(self):
        self._requests.close()
        self._process.wait(30)


class Fork:
    """The part of a `subprocess.Popen` that a player uses."""

    def __init__(self, forks, argv):
        self._forks = forks
        self._code = None
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        self.pid = forks.ask({"argv": argv}, theirs)
        for file in theirs:
            os.close(file)
        self.stdin = open(pipes[0][1], "wb", buffering=0)
        self.stdout, self.stderr = (open(read, "rb", buffering=0) for read, _ in pipes[1:])

    def poll(self):
        if self._code is None:
            self._code = self._forks.ask({"pid": self.pid})
        return self._code

    def wait(self, timeout=30.0):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.002)
        return self._code


@pytest.fixture(scope="module")
def forked():
    """Makes players start their workers as forks; each thread has a process that forks."""
    here, made = threading.local(), []

    def start(folder, arguments, sandboxed):
        if not hasattr(here, "forks"):
            here.forks = Forks()
            made.append(here.forks)
        return Fork(here.forks, [str(folder), *arguments])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "start", start)
        yield
    for forks in made:
        forks.close()


# Good submissions, in the forms that there are.


class Module(tf.Module):
    """A submission with functions in functions, and a loop, as Keras exports have them."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.kernel = tf.Variable(rng.normal(size=(5, 12)).astype(np.float32))
        self.weights = tf.Variable(rng.normal(size=(12, 1)).astype(np.float32))
        self._inner = tf.function(lambda z: z @ self.kernel)

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32, spec.NOISE)])
    def generate(self, z):
        x = tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, x * 0.9), (0, self._inner(z)))[1]
        return {spec.IMAGES: tf.sigmoid(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, 12], tf.float32, spec.RAW)])
    def discriminate(self, x):
        return {spec.P: tf.sigmoid(tf.nn.relu(x) @ self.weights)}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    corpus.team(folder / "checkpoint", corpus.GOLD)
    corpus.saved_model(folder / "saved_model")
    module = Module()
    functions = {"generate": module.generate, "discriminate": module.discriminate}
    tf.saved_model.save(module, str(folder / "functions"), functions)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    file = record_files.write_images(tmp_path_factory.mktemp("data") / "real.tfrecords", corpus.real_images(64))
    return check.Examples(corpus.CONTEST, records.read(file, corpus.CONTEST.image_shape))


# Mutations. Each takes a random.Random and a folder, and changes files.

_NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**40, 2**63 - 1)
_TEXTS = ("", "x", "^x", "x:0", "x:99999999999", ":", "..", "/etc/passwd", "\n", "\x1b[2J", "é", "contest_input")
_OPS = (*sorted(allowed_ops.ALLOWED), "WriteFile", "ReadFile", "Switch", "NoSuchOperation", "")


def flip_bits(rng, data):
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng, data):
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 16, 200))
    data[start : start + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))


def truncate(rng, data):
    del data[rng.randrange(len(data)) :]


def insert(rng, data):
    place = rng.randrange(len(data))
    data[place:place] = rng.randbytes(rng.choice((1, 4, 100, 5000)))


def swap_blocks(rng, data):
    length = rng.choice((1, 4, 16, 64))
    one, other = rng.randrange(len(data)), rng.randrange(len(data))
    data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]


def change_bytes(rng, folder):
    file = rng.choice([file for file in sorted(folder.rglob("*")) if file.is_file() and file.stat().st_size])
    data = bytearray(file.read_bytes())
    rng.choice((flip_bits, overwrite, truncate, insert, swap_blocks))(rng, data)
    file.write_bytes(data)


def change_checkpoint_text(rng, folder):
    file = folder / "checkpoint"
    if not file.exists():
        return change_bytes(rng, folder)
    parts = re.split(r'([":/\n])', file.read_text())
    odd = ("\\000", "\\377", '"', "{", "../other/model.ckpt-7", "*", "?", "x" * 300)
    parts[rng.randrange(len(parts))] = rng.choice((*_TEXTS, *odd))
    return file.write_text("".join(parts))


def change_message(rng, folder):
    """Changes fields of the saved graph, where most of what the arena reads stands."""
    file, kind = next(
        (file, kind)
        for pattern, kind in (("*.meta", v1.MetaGraphDef), ("saved_model.pb", saved_model_pb2.SavedModel))
        for file in folder.glob(pattern)
    )
    saved = kind.FromString(file.read_bytes())
    meta = saved if kind is v1.MetaGraphDef else saved.meta_graphs[0]
    for _ in range(rng.choice((1, 1, 2, 5))):
        with contextlib.suppress(ValueError, TypeError):  # what a message of this kind cannot hold at all
            rng.choice((change_node, change_node, change_any_field, change_ends))(rng, meta)
    file.write_bytes(saved.SerializeToString())


def change_node(rng, meta):
    functions = list(meta.graph_def.library.function)
    nodes = rng.choice([meta.graph_def.node, *(function.node_def for function in functions)])
    if not nodes:
        return
    node, other = rng.choice(nodes), rng.choice(nodes)
    what = rng.randrange(8)
    if what == 0:
        node.op = rng.choice(_OPS)
    elif what == 1:
        node.name = rng.choice((other.name, *_TEXTS))
    elif what == 2 and node.input:
        edges = (other.name, f"{other.name}:1", f"^{other.name}", *_TEXTS)
        node.input[rng.randrange(len(node.input))] = rng.choice(edges)
    elif what == 3:
        node.input.append(rng.choice((other.name, f"^{other.name}")))
    elif what == 4 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif what == 5:
        values = list(other.attr.values()) or [v1.AttrValue()]
        node.attr[rng.choice(list(node.attr) or ["T"])].CopyFrom(rng.choice(values))
    elif what == 6 and node.attr:
        change_any_field(rng, node.attr[rng.choice(list(node.attr))])
    elif functions:
        name = rng.choice(functions).signature.name
        node.attr[rng.choice(("f", "body", "cond", "then_branch"))].func.name = name


def change_ends(rng, meta):
    """Changes a collection or a signature."""
    names = [node.name for node in meta.graph_def.node] or ["z"]
    if meta.collection_def and rng.random() < 0.5:
        values = meta.collection_def[rng.choice(list(meta.collection_def))].node_list.value
        values[:] = rng.choice(([], [f"{rng.choice(names)}:0"], [rng.choice(_TEXTS)], [*values, "z:0"]))
    elif meta.signature_def:
        signature = meta.signature_def[rng.choice(list(meta.signature_def))]
        ends = rng.choice((signature.inputs, signature.outputs))
        ends[rng.choice((*ends, "another"))].name = rng.choice((f"{rng.choice(names)}:0", *_TEXTS))


def change_any_field(rng, message):
    """Walks down from a message at random and changes what it comes to."""
    while fields := message.ListFields():
        field, value = rng.choice(fields)
        if hasattr(value, "items"):
            key = rng.choice(list(value))
            if not hasattr(value[key], "ListFields"):
                value[key] = another(rng, value[key])
                return
            message = value[key]
        elif hasattr(value, "append"):
            place = rng.randrange(len(value))
            if rng.random() < 0.2:
                del value[place]
                return
            if not hasattr(value[place], "ListFields"):
                value[place] = another(rng, value[place])
                return
            message = value[place]
        elif not hasattr(value, "ListFields"):
            setattr(message, field.name, another(rng, value))
            return
        elif rng.random() < 0.1:
            message.ClearField(field.name)
            return
        else:
            message = value


def another(rng, value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((*_NUMBERS, value + 1, value - 1))
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))
    if isinstance(value, bytes):
        return rng.choice((b"", b"\xff" * 8, value * 2, value[:-1]))
    return rng.choice((*_TEXTS, value * 2, value[:-1]))


def change_variables(rng, folder):
    """Writes the weights anew, with another shape, type or name for one of them."""
    prefix = next(folder.rglob("*.index")).with_suffix("")
    reader = tf.train.load_checkpoint(str(prefix))
    tensors = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
    name = rng.choice(list(tensors))
    value = np.asarray(tensors.pop(name))
    name = rng.choice((name, name, name, f"{name}/x", "_CHECKPOINTABLE_OBJECT_GRAPH"))
    if value.dtype.kind in "OS":
        tensors[name] = np.array(rng.choice((b"", b"\xff\xff", rng.randbytes(100))), object)
    else:
        kinds = (np.float64, np.int32, np.bool_, np.complex64, np.float16, np.int8)
        others = [value.astype(kind) for kind in kinds]
        others += [value[..., None], value.reshape(-1)[:-1], value * np.nan, value * 1e30]
        others += [np.full(value.shape, b"text", object), np.zeros([0, *value.shape[1:]], np.float32)]
        tensors[name] = rng.choice(others)
    for file in [*folder.rglob("*.index"), *folder.rglob("*.data-*")]:
        file.unlink()
    names, values = list(tensors), [tf.constant(value) for value in tensors.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    (prefix.parent / f"{prefix.name}.data-00000-of-00001").touch()


def change_index(rng, folder):
    """Changes bytes of the table of weights and makes its checksum right again."""
    file = next(folder.rglob("*.index"))
    data = bytearray(file.read_bytes())
    length = first_block(data)
    for _ in range(rng.choice((1, 2, 4))):
        data[rng.randrange(length)] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
    checksum = crc32c(data[: length + 1])
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    data[length + 1 : length + 5] = struct.pack("<I", masked)
    file.write_bytes(data)


def first_block(table):
    """The length of the first block of a table: footer, index block, first entry's value, (offset, size)."""
    _, place = varint(table, len(table) - 48)
    _, place = varint(table, place)
    place, _ = varint(table, place)  # where the index block is
    _, place = varint(table, place)
    unshared, place = varint(table, place)
    _, place = varint(table, place)
    offset, place = varint(table, place + unshared)
    assert offset == 0
    return varint(table, place)[0]


def varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


MUTATIONS = (
    *(change_bytes, change_bytes, change_message, change_message, change_message, change_message),
    *(change_variables, change_index, change_checkpoint_text),
)


# The tests.


def verdict(seed, originals, examples):
    """Mutates a submission as the seed says and checks it; returns (mutation, first failure or None)."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "team"
        shutil.copytree(rng.choice(originals), folder)
        mutation = rng.choice(MUTATIONS)
        mutation(rng, folder)
        begin = time.monotonic()
        try:
            files = snapshot.take(storage.path(folder), storage.path(pathlib.Path(temporary) / "store"))
        except SubmissionError as error:
            assert str(error).isprintable()
            return mutation.__name__, f"files: {error}"
        with Player(files, False, TIME_LIMIT) as player:
            report = check_report.of_snapshot(files, player, examples)
    assert time.monotonic() - begin < MOST_SECONDS
    assert len(report.findings) >= 4
    for finding in report.findings:
        assert finding.status in (check.PASS, check.WARN, check.FAIL, check.SKIP)
        assert finding.message.isprintable()
        assert "Traceback" not in finding.message
    return mutation.__name__, report.first_failure()


def verdicts(seeds, originals, examples):
    """Returns the verdicts for seeds, worked out by two threads; a failure names its seed."""

    def one(seed):
        try:
            return verdict(seed, originals, examples)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        return list(threads.map(one, seeds))


def test_damage_gets_a_verdict(forked, originals, examples):
    found = verdicts(range(QUICK), originals, examples)
    refused = sum(failure is not None for _, failure in found)
    assert QUICK / 2 < refused < QUICK


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(QUICK, QUICK + SLOW, CHUNK))
def test_much_damage_gets_a_verdict(first, forked, originals, examples):
    found = verdicts(range(first, first + CHUNK), originals, examples)
    refused = sum(failure is not None for _, failure in found)
    assert CHUNK / 2 < refused < CHUNK


def test_what_is_not_damaged_passes(forked, originals, examples, tmp_path):
    for folder in originals:
        files = snapshot.take(storage.path(folder), storage.path(tmp_path))
        with Player(files, False, TIME_LIMIT) as player:
            assert check_report.of_snapshot(files, player, examples).first_failure() is None


# Messages of workers.

# A busy machine is no failure.
UNHURRIED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 2**31, 2**32 - 1, 2**63, -1]) | st.integers() | st.booleans(), max_size=9)
HEADERS = st.fixed_dictionaries(
    {}, optional={"dtype": st.sampled_from(sorted(wire._DTYPES)) | JSON, "shape": SHAPES | JSON, "fault": JSON}
)
BODIES = st.sampled_from([b"", bytes(4), bytes(8)]) | st.binary(max_size=64)


def reads_or_refuses(text, body):
    try:
        header, array = wire.unpack(text, body)
    except wire.WireError as error:
        assert str(error).isprintable()
        return
    assert isinstance(header, dict)
    assert array is None or array.nbytes == len(body)


@UNHURRIED
@hypothesis.given(st.binary(max_size=200), BODIES)
def test_any_bytes_are_a_message_or_refused(text, body):
    reads_or_refuses(text, body)


@hypothesis.settings(UNHURRIED, max_examples=500)
@hypothesis.given(HEADERS | JSON, BODIES)
def test_any_header_is_read_or_refused(header, body):
    reads_or_refuses(json.dumps(header).encode(), body)


@UNHURRIED
@hypothesis.given(st.binary(min_size=8, max_size=8))
def test_any_lengths_are_bounded_or_refused(prefix):
    with contextlib.suppress(wire.WireError):
        header, body = wire.lengths(prefix)
        assert header <= wire.MAX_HEADER_BYTES
        assert body <= wire.MAX_ARRAY_BYTES


REAL_NUMBERS = arrays.arrays(
    st.sampled_from(sorted(wire._DTYPES)).map(np.dtype),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@UNHURRIED
@hypothesis.given(REAL_NUMBERS, st.dictionaries(st.sampled_from(["role", "fault"]), st.text(max_size=9)))
def test_what_is_packed_is_unpacked(array, header):
    message = wire.pack(header, array)
    length, size = wire.lengths(message[: wire.LENGTHS.size])
    text, body = message[wire.LENGTHS.size :][:length], message[wire.LENGTHS.size + length :]
    assert len(body) == size
    found, unpacked = wire.unpack(text, body)
    assert {name: found[name] for name in header} == header
    np.testing.assert_array_equal(unpacked, array)
    assert unpacked.dtype == array.dtype
