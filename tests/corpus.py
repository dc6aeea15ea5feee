"""Submissions that are broken, malicious or cheating, each with what the arena must say about it.

`ENTRIES` maps a name to an `Entry`. Where only one half of a submission misbehaves, the other half is good, so that the
verdict can have one reason only. Everything a submission tries to read or write lies in its `Traps`.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable

import graphs
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from gan import spec

v1 = tf.compat.v1
raw = tf.raw_ops
CONTEST = spec.ContestSpec(4, 3, 1, latent_size=graphs.LATENT)
HALF = graphs.SIZE // 2
PREFIX = "model.ckpt-7"

# How far a team's images are from real ones, and how near an image must be for its D to call it real. A team's D sees
# through the images of every team behind it, and of its own, but not through those of a team before it.
GOLD, SILVER, BRONZE, PAPER = (0.25, 0.175), (0.4, 0.325), (0.55, 0.475), (0.7, 0.625)

FILES = "files"
G, D = "generator", "discriminator"
CONTRACT, OUTPUT = {half: f"{half}: contract" for half in (G, D)}, {half: f"{half}: output" for half in (G, D)}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One submission and what must come of it.

    Attributes:
      build: makes the folder; called with it and its `Traps`.
      rule, status: the finding that matters, "FAIL" or "WARN"; None where the check finds nothing.
      says: a regular expression for its message.
      failing: the half that fails in a match although it passes the check, or None.
      reason: a regular expression for that failure.
      time_limit: seconds; small for those that use up all they get.
    """

    build: Callable
    rule: str | None = None
    status: str | None = None
    says: str = ""
    failing: str | None = None
    reason: str = ""
    time_limit: float = 20.0

    @property
    def may_battle(self):
        return self.status != "FAIL"


class Traps:
    """What must not be read, changed or made: `secret` is a file, `target` does not exist, `precious` is a folder."""

    CANARY = "canary 5f1c"  # as many bytes as an image has, with the line's end

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.secret = self.folder / "secret.txt"
        self.target = self.folder / "written"
        self.precious = self.folder / "precious"
        self.precious.mkdir(parents=True)
        self.secret.write_text(f"{self.CANARY}\n")
        (self.precious / "work.txt").write_text("of years")

    def state(self):
        """Returns {name: content} of everything in here."""
        return {
            str(file.relative_to(self.folder)): file.is_file() and file.read_bytes() for file in self.folder.rglob("*")
        }


ENTRIES = {}


def entry(**expected):
    """Registers a builder under its name."""

    def register(build):
        ENTRIES[build.__name__] = Entry(build, **expected)
        return build

    return register


def refused(rule, says, **more):
    return entry(rule=rule, status="FAIL", says=says, **more)


def warned(rule, says):
    return entry(rule=rule, status="WARN", says=says)


def fails_in_match(failing, reason, **more):
    return entry(failing=failing, reason=reason, **more)


harmless = entry()


# Good halves.


def team_generator(strength):
    """A G whose images are brighter above than below."""

    def body(z):
        shades = 0.1 + 0.2 * tf.sigmoid(z @ graphs.ref_variable("gw", [graphs.LATENT, HALF], 1))
        return tf.concat([shades + strength[0], shades], 1)

    return body


def unlikeness(x):
    """How much brighter the upper half of an image is, [N, 1]."""
    weights = np.repeat([1.0, -1.0], HALF).astype(np.float32) / HALF
    return tf.abs(x @ weights[:, None])


def team_discriminator(strength):
    def body(x):
        sharpness = v1.Variable(np.float32(40), name="dw", use_resource=False)
        return tf.sigmoid(sharpness * (strength[1] - unlikeness(x)))

    return body


def real_images(count, seed=0):
    """uint8 [count, SIZE]: even shades, nearly as bright above as below."""
    rng = np.random.default_rng(seed)
    shades = rng.uniform(0.1, 0.3, (count, HALF))
    return spec.to_8bit(np.concatenate([shades + rng.uniform(0, 0.1, (count, 1)), shades], 1))


good_g, good_d = team_generator(PAPER), team_discriminator(PAPER)


def model(folder, generate=good_g, discriminate=good_d, noise_shape=(None, graphs.LATENT)):
    """Saves a TF1 checkpoint; a half that is None is left out."""
    with graphs.tf1_checkpoint(folder):
        if generate:
            graphs.generator_of(generate, noise_shape)
        if discriminate:
            graphs.discriminator_of(discriminate)


def team(folder, strength):
    """Saves a good submission."""
    model(folder, team_generator(strength), team_discriminator(strength))


def saved_model(folder, strength=PAPER, signatures=("generate", "discriminate"), before_saving=lambda: None):
    """Saves a good submission as a SavedModel; `before_saving` may make an operation that runs at loading."""
    with tf.Graph().as_default(), v1.Session() as session:
        z = v1.placeholder(tf.float32, [None, graphs.LATENT], name="z")
        x = v1.placeholder(tf.float32, [None, graphs.SIZE], name="x")
        ends = {
            "generate": ({spec.NOISE: z}, {spec.IMAGES: team_generator(strength)(z)}),
            "discriminate": ({spec.RAW: x}, {spec.P: team_discriminator(strength)(x)}),
        }
        main_op = before_saving()
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        definitions = {name: v1.saved_model.predict_signature_def(*ends[name]) for name in signatures}
        builder.add_meta_graph_and_variables(session, ["serve"], definitions, main_op=main_op)
        builder.save()


def edit(folder, change):
    """Changes the meta graph of a saved checkpoint."""
    file = folder / f"{PREFIX}.meta"
    meta = v1.MetaGraphDef.FromString(file.read_bytes())
    change(meta)
    file.write_bytes(meta.SerializeToString())


def hang_on(meta, name):
    """Makes G's output wait for a node."""
    node = next(node for node in meta.graph_def.node if node.name == "concat")
    node.input.append(f"^{name}")


def node_of(graph, name, op, **types):
    node = graph.add(name=name, op=op)
    for key, kind in types.items():
        node.attr[key].type = kind.as_datatype_enum
    return node


# Files.


@refused(FILES, "holds no submission: expected a TF1 checkpoint")
def empty_folder(folder, traps):
    folder.mkdir()


@refused(FILES, "does not exist")
def no_folder(folder, traps):
    pass


@refused(FILES, "holds no submission")
def keras_file_only(folder, traps):
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"PK\x03\x04 a pickle in disguise")


@refused(FILES, "model.ckpt-9.meta is missing")
def checkpoint_of_the_neighbour(folder, traps):
    model(folder)
    with graphs.tf1_checkpoint(traps.folder / "other", step=9):
        graphs.generator_of(good_g)
    (folder / "checkpoint").write_text('model_checkpoint_path: "../traps/other/model.ckpt-9"\n')


@refused(FILES, "model.ckpt-9.meta is missing")
def checkpoint_with_an_absolute_path(folder, traps):
    checkpoint_of_the_neighbour(folder, traps)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{traps.folder}/other/model.ckpt-9"\n')


@refused(FILES, "names no checkpoint: 'a/..'")
def checkpoint_is_the_parent(folder, traps):
    model(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "a/.."\n')


@refused(FILES, r"names no checkpoint: 'model\\x1b\[2Jwiped'|names no checkpoint: 'model\\\\x1b")
def checkpoint_name_with_terminal_codes(folder, traps):
    rename(folder, "model\x1b[2Jwiped")


@refused(FILES, r"names no checkpoint: 'mod\\x00el'|names no checkpoint: 'mod\\\\x00el'")
def checkpoint_name_with_a_zero_byte(folder, traps):
    model(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "mod\\000el"\n')


@refused(FILES, "names no checkpoint: 'xxxxx|File name too long")
def checkpoint_name_too_long(folder, traps):
    model(folder)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{"x" * 5000}"\n')


@refused(FILES, "checkpoint has [0-9]+ bytes; at most 1048576")
def checkpoint_file_of_megabytes(folder, traps):
    model(folder)
    with (folder / "checkpoint").open("a") as file:
        file.write(f'all_model_checkpoint_paths: "{PREFIX}"\n' * 50_000)


@refused(FILES, "checkpoint is damaged")
def checkpoint_is_html(folder, traps):
    model(folder)
    (folder / "checkpoint").write_text("<script>alert(1)</script>")


def rename(folder, prefix):
    model(folder)
    for file in list(folder.glob(f"{PREFIX}.*")):
        file.rename(file.with_name(file.name.replace(PREFIX, prefix)))
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')


@refused(FILES, "is a link; a submission holds files of its own")
def linked_meta(folder, traps):
    model(folder)
    shutil.move(folder / f"{PREFIX}.meta", traps.folder / "meta")
    (folder / f"{PREFIX}.meta").symlink_to(traps.folder / "meta")


@refused(FILES, "is a link")
def linked_to_a_secret(folder, traps):
    model(folder)
    (folder / "source").mkdir()
    (folder / "source" / "train.py").symlink_to(traps.secret)


@refused(FILES, "is a link")
def linked_source_folder(folder, traps):
    model(folder)
    (folder / "source").symlink_to(traps.folder)


@refused(FILES, "is a link")
def linked_variables_folder(folder, traps):
    saved_model(folder)
    shutil.move(folder / "variables", traps.folder / "variables")
    (folder / "variables").symlink_to(traps.folder / "variables")


@refused(FILES, "is not a plain file")
def pipe_for_a_meta(folder, traps):
    model(folder)
    (folder / f"{PREFIX}.meta").unlink()
    os.mkfifo(folder / f"{PREFIX}.meta")


@refused(FILES, "is not a plain file")
def pipe_for_a_source(folder, traps):
    model(folder)
    (folder / "source").mkdir()
    os.mkfifo(folder / "source" / "train.py")


@refused(FILES, "is not a plain file")
def folder_for_a_checkpoint(folder, traps):
    (folder / "checkpoint").mkdir(parents=True)


@refused(FILES, "has 3221225472 bytes; at most [0-9]+ are allowed")
def sparse_giant(folder, traps):
    model(folder)
    os.truncate(folder / f"{PREFIX}.data-00000-of-00001", 3 << 30)


@refused(FILES, "holds 104 files; at most 100 are allowed")
def too_many_shards(folder, traps):
    model(folder)
    for shard in range(100):
        (folder / f"{PREFIX}.data-{shard:05}-of-00100").write_bytes(b"")


@refused(FILES, "source holds more than 2000 files")
def too_many_sources(folder, traps):
    model(folder)
    (folder / "source").mkdir()
    for number in range(2001):
        (folder / "source" / f"{number}.py").touch()


@refused(FILES, r"source/\S+ is no name of a file")
def source_of_no_text_name(folder, traps):
    model(folder)
    (folder / "source").mkdir()
    pathlib.Path(os.fsdecode(bytes(folder / "source") + b"/\xff\xfe.py")).touch()


@refused(FILES, "cannot be read .*File name too long")
def source_of_great_depth(folder, traps):
    model(folder)
    (folder / "source").mkdir()
    here = os.open(folder / "source", os.O_DIRECTORY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@refused(CONTRACT[G], "model.ckpt-7.meta is damaged or malformed")
def half_a_meta(folder, traps):
    model(folder)
    os.truncate(folder / f"{PREFIX}.meta", (folder / f"{PREFIX}.meta").stat().st_size // 2)


@refused(CONTRACT[G], "the checkpoint model.ckpt-7 cannot be read")
def garbage_index(folder, traps):
    model(folder)
    (folder / f"{PREFIX}.index").write_bytes(np.random.default_rng(0).bytes(500))


@refused(CONTRACT[G], "the checkpoint model.ckpt-7 cannot be read")
def garbage_data(folder, traps):
    model(folder)
    data = folder / f"{PREFIX}.data-00000-of-00001"
    data.write_bytes(bytes(255 - byte for byte in data.read_bytes()))


@refused(CONTRACT[G], "the checkpoint model.ckpt-7 cannot be read")
def missing_shard(folder, traps):
    model(folder)
    (folder / f"{PREFIX}.data-00000-of-00001").unlink()


# Operations that do more than compute.


def beside(make, half=G):
    """A builder of a submission in which the output of a half waits for another operation."""

    def build(folder, traps):
        def body(x):
            with tf.control_dependencies([make(traps)]):
                return tf.identity((good_g if half is G else good_d)(x))

        model(folder, **{"generate" if half is G else "discriminate": body})

    return build


def forbid(name, make, says, half=G):
    ENTRIES[name] = Entry(beside(make, half), CONTRACT[half], "FAIL", says)


def summary_writer(traps):
    writer = raw.SummaryWriter(shared_name="", container="")
    with tf.control_dependencies(
        [
            raw.CreateSummaryFileWriter(
                writer=writer, logdir=str(traps.target), max_queue=1, flush_millis=1, filename_suffix="x"
            )
        ]
    ):
        return raw.WriteScalarSummary(writer=writer, step=np.int64(1), tag="t", value=1.0)


def dataset_cache(traps):
    data = v1.data.Dataset.range(3).cache(str(traps.target))
    return v1.data.make_one_shot_iterator(data).get_next()


def text_lines(traps):
    return v1.data.make_one_shot_iterator(v1.data.TextLineDataset(str(traps.secret))).get_next()


def file_queue(traps):
    return tf.compat.v1.WholeFileReader().read(v1.train.string_input_producer([str(traps.secret)]))[1]


def restore(traps):
    return raw.RestoreV2(
        prefix=str(traps.folder / "other"), tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0]


def save(traps):
    return raw.SaveV2(prefix=str(traps.target), tensor_names=["w"], shape_and_slices=[""], tensors=[tf.ones([3])])


def merge(traps):
    return raw.MergeV2Checkpoints(
        checkpoint_prefixes=[str(traps.precious / "work.txt")],
        destination_prefix=str(traps.target),
        delete_old_dirs=True,
    )


def python_code(traps):
    return v1.py_func(traps.target.touch, [], [])


forbid("reads_a_file", lambda traps: tf.io.read_file(str(traps.secret)), r"operation ReadFile .*may not read files")
forbid(
    "lists_a_folder", lambda traps: tf.io.matching_files(f"{traps.folder}/*"), "operation MatchingFiles .*not allowed"
)
forbid("reads_lines", text_lines, "operation (OneShotIterator|IteratorGetNext) .*data set")
forbid("reads_a_queue", file_queue, "operation ReaderReadV2 .*may not read files")
forbid("restores", restore, "operation RestoreV2 .*may not read files", D)
forbid(
    "writes_a_file",
    lambda traps: tf.io.write_file(str(traps.target), "x"),
    "operation WriteFile .*may not write files",
    D,
)
forbid("saves", save, "operation SaveV2 .*may not write files")
forbid("deletes_a_folder", merge, "operation MergeV2Checkpoints .*not allowed")
forbid(
    "prints",
    lambda traps: tf.print("x", output_stream=f"file://{traps.target}"),
    "operation PrintV2 .*may not print",
    D,
)
forbid("writes_summaries", summary_writer, "operation WriteScalarSummary .*may not write")
forbid("caches", dataset_cache, "operation (OneShotIterator|IteratorGetNext) .*data set", D)
forbid("runs_python", python_code, "operation (PyFunc|EagerPyFunc) .*Python code cannot be part")
forbid(
    "ends_the_process", lambda traps: raw.Abort(error_msg="", exit_without_error=True), "operation Abort .*not allowed"
)
forbid("fetches_the_clock", lambda traps: tf.timestamp(), "operation Timestamp .*not allowed", D)


@refused(CONTRACT[G], "operation (DecodeRaw|ReadFile) .*not allowed")
def shows_a_secret(folder, traps):
    def body(z):
        secret = tf.io.decode_raw(tf.io.read_file(str(traps.secret)), tf.uint8)
        return good_g(z) * 0 + tf.cast(secret, tf.float32) / 255

    model(folder, body)


@refused(CONTRACT[D], "operation WriteFile .*may not write files")
def writes_inside_a_function(folder, traps):
    @tf.function
    def inner(x):
        tf.io.write_file(str(traps.target), "x")
        return x * 1.0

    model(folder, discriminate=lambda x: good_d(inner(x)))


@refused(CONTRACT[G], "operation WriteFile .*may not write files")
def writes_inside_a_loop(folder, traps):
    def step(i, x):
        with tf.control_dependencies([tf.io.write_file(str(traps.target), "x")]):
            return i + 1, tf.identity(x)

    model(folder, lambda z: good_g(tf.function(lambda x: tf.while_loop(lambda i, _: i < 3, step, (0, x))[1])(z)))


@refused(CONTRACT[G], "operation (Switch|Merge) .*control flow of TF1 is not let in")
def control_flow_of_tf1(folder, traps):
    def body(z):
        ways = raw.Switch(data=z, pred=tf.reduce_sum(z) > 0)
        return good_g(raw.Merge(inputs=[ways.output_false, -ways.output_true]).output)

    model(folder, body)


@refused(CONTRACT[G], "AssignAddVariableOp .*the graph changes its variables while it runs")
def counts_its_calls_in_a_variable(folder, traps):
    def body(z):
        calls = v1.Variable(0.0, use_resource=True)
        with tf.control_dependencies([calls.assign_add(1.0)]):
            return tf.identity(good_g(z))

    model(folder, body)


# Traps that go off at loading or restoring: nobody loads or restores.


@harmless
def writes_when_restored(folder, traps):
    def body(z):
        tf.io.write_file(str(traps.target), "x", name="trap")
        return good_g(z)

    def change(meta):
        meta.saver_def.restore_op_name = "trap"
        meta.saver_def.save_tensor_name = meta.saver_def.filename_tensor_name = "trap/filename:0"

    model(folder, body)
    edit(folder, change)


@harmless
def writes_when_initialised(folder, traps):
    def body(z):
        trap = tf.io.write_file(str(traps.target), "x")
        for name in ("init_op", "local_init_op", "ready_op", "table_initializer", "saved_model_main_op", "train_op"):
            v1.add_to_collection(name, trap)
        return good_g(z)

    model(folder, body)


@harmless
def writes_when_loaded(folder, traps):
    saved_model(folder, before_saving=lambda: tf.io.write_file(str(traps.target), "x"))


@harmless
def variable_that_is_initialised_from_a_file(folder, traps):
    def body(z):
        size = tf.strings.length(tf.io.read_file(str(traps.secret)))
        return good_g(z) + 0.0 * v1.Variable(tf.cast(size, tf.float32), use_resource=False)

    model(folder, body)


# Graphs that cost too much, or that TensorFlow itself does not survive.


def grow(name, change, says, time_limit=20.0):
    """Registers a submission whose saved graph is changed."""

    def build(folder, traps):
        model(folder)
        edit(folder, change)

    ENTRIES[name] = Entry(build, CONTRACT[G], "FAIL", says, time_limit=time_limit)


def a_function(meta, name, calls):
    """Adds a function that only calls others."""
    function = meta.graph_def.library.function.add()
    function.signature.name = name
    for number, callee in enumerate(calls):
        function.node_def.add(name=f"call{number}", op="PartitionedCall").attr["f"].func.name = callee


def call(meta, name):
    meta.graph_def.node.add(name="a_call", op="PartitionedCall").attr["f"].func.name = name
    hang_on(meta, "a_call")


def recursion(meta):
    a_function(meta, "f", ["f"])
    call(meta, "f")


def mutual_recursion(meta):
    for name, callee in (("f", "g"), ("g", "h"), ("h", "f")):
        a_function(meta, name, [callee])
    call(meta, "f")


def call_blow_up(meta):
    for depth in range(60):
        a_function(meta, f"f{depth}", [f"f{depth + 1}"] * 8 if depth < 59 else [])
    call(meta, "f0")


def call_depth(meta):
    for depth in range(5000):
        a_function(meta, f"f{depth}", [f"f{depth + 1}"] if depth < 4999 else [])
    call(meta, "f0")


def function_called_like_an_operation(meta):
    a_function(meta, "Sigmoid", ["Sigmoid"])
    a_function(meta, "f", [])
    meta.graph_def.library.function[0].node_def[0].attr["f"].func.name = "f"
    call(meta, "Sigmoid")


def missing_function(meta):
    call(meta, "nowhere")


def huge_constant(meta):
    node = node_of(meta.graph_def.node, "big", "Const", dtype=tf.float32)
    tensor = node.attr["value"].tensor
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.tensor_shape.dim.add(size=3_500_000_000)
    tensor.float_val.append(1)
    hang_on(meta, "big")


def forged_object(kind):
    """A constant that pretends to be a list of tensors, or a handle of the process in which it is opened."""

    def change(meta):
        node = node_of(meta.graph_def.node, "forged", "Const", dtype=kind)
        tensor = tensor_pb2.TensorProto(dtype=kind.as_datatype_enum)
        if kind == tf.variant:
            tensor.variant_val.add(type_name="tensorflow::TensorList", metadata=b"\xff\xff\xff\x7f" * 3)
        else:
            tensor.resource_handle_val.add(name="x", container="y", hash_code=1 << 40)
        node.attr["value"].tensor.CopyFrom(tensor)
        hang_on(meta, "forged")

    return change


def more_than_the_nodes(meta):
    before = "concat/axis"
    for number in range(50_001):
        node = node_of(meta.graph_def.node, f"n{number}", "Identity", T=tf.int32)
        node.input.append(before)
        before = node.name
    hang_on(meta, before)


def too_many_parts(meta):
    node = node_of(meta.graph_def.node, "parts", "Unpack", T=tf.float32)
    node.attr["num"].i = 1 << 30
    node.input.append("z")
    hang_on(meta, "parts")


def cycle(meta):
    for name, other in (("one", "two"), ("two", "one")):
        node_of(meta.graph_def.node, name, "Identity", T=tf.float32).input.append(other)
    hang_on(meta, "one")


def html_in_a_name(meta):
    node = meta.graph_def.node.add(name="<img src=x onerror=alert(1)>", op="WriteFile")
    hang_on(meta, node.name)


def terminal_codes_in_a_name(meta):
    node = meta.graph_def.node.add(name="\x1b[2Jwiped" + "x" * 5000, op="WriteFile")
    hang_on(meta, node.name)


def training_mode_by_a_hidden_path(meta):
    function = meta.graph_def.library.function.add()
    function.signature.name = "f"
    function.node_def.add(name="norm", op="FusedBatchNormV3").attr["is_training"].placeholder = "t"
    call(meta, "f")
    meta.graph_def.node[-1].attr["f"].func.attr["t"].b = True


grow("recursion", recursion, "the function 'f' calls itself")
grow("mutual_recursion", mutual_recursion, "the function '[fgh]' calls itself")
grow("call_blow_up", call_blow_up, "function calls write out to more than 200000 nodes")
grow("call_depth", call_depth, "function calls nest deeper than 64")
grow(
    "function_called_like_an_operation", function_called_like_an_operation, "cannot be built .*same name already exists"
)
grow("missing_function", missing_function, "the function 'nowhere' is called but not in the graph")
grow("huge_constant", huge_constant, "the constant 'big' takes 14000000000 bytes")
grow("forged_list", forged_object(tf.variant), "the constant 'forged' is of type variant")
grow("forged_handle", forged_object(tf.resource), "the constant 'forged' is of type resource")
grow("more_than_the_nodes", more_than_the_nodes, "more than 50000 nodes")
grow("too_many_parts", too_many_parts, "time limit exceeded|needs more memory|the worker ended", time_limit=8.0)
grow("cycle", cycle, "the generator fails|cannot be built")
grow("html_in_a_name", html_in_a_name, r"operation WriteFile \(<img src=x")
grow("terminal_codes_in_a_name", terminal_codes_in_a_name, r"operation WriteFile \(\\x1b\[2Jwiped")
grow("training_mode_by_a_hidden_path", training_mode_by_a_hidden_path, "left open to its caller")


def endless(x, goes_on=True):
    """Returns x, after ever."""
    return tf.function(lambda x: tf.while_loop(lambda _: goes_on, lambda x: (x * 1.0,), (x,))[0])(x)


def sizes(x, factor):
    """The shape [N, width * factor], in 64 bits, which nobody knows before the model runs."""
    return tf.cast(tf.shape(x), tf.int64) * [1, factor]


def crash(x, length):
    """TensorFlow does not survive a list of two billion tensors."""
    taken = raw.TensorListReserve(element_shape=[1], num_elements=length, element_dtype=tf.float32)
    return raw.TensorListGetItem(input_handle=taken, index=0, element_shape=[1], element_dtype=tf.float32)


def run(name, body, says, half=G, rule=OUTPUT, time_limit=20.0):
    """Registers a submission of which one half computes something else; `body` is given the good half's output."""

    def build(folder, traps):
        good = good_g if half is G else good_d
        model(folder, **{"generate" if half is G else "discriminate": lambda x: body(good(x))})

    ENTRIES[name] = Entry(build, rule[half], "FAIL", says, time_limit=time_limit)


FAILS = "the generator fails on a batch of shape"
DIES = r"the worker ended without an answer \((killed by SIG|exit code)"
run("endless_loop", endless, "time limit exceeded: the limit was 8 seconds", time_limit=8.0)
run("endless_loop_of_d", endless, "time limit exceeded: the limit was 8", D, time_limit=8.0)
run("memory_bomb", lambda y: y + tf.fill(sizes(y, 1 << 30), 0.0)[:, :1], FAILS)
run(
    "memory_bomb_by_tiling",
    lambda y: y + tf.tile(y, [1, 1 << 30])[:, :1],
    FAILS.replace(G, D),
    D,
)
run("segmentation_fault", lambda y: y + crash(y, tf.shape(y)[0] * 0 + 2**31 - 1), DIES)
run("division_by_zero", lambda y: y * tf.cast(7 // (tf.shape(y)[0] * 0), tf.float32), FAILS)
run("huge_output", lambda y: tf.tile(y, [1, 10_000_000]), r"an array of shape \[1, 120000000\]")
run("nothing_of_a_giant_shape", lambda y: tf.zeros([0, 1 << 40, 1 << 40]) * y[0, 0], f"{FAILS}|images have shape")


# Outputs that break the contract.

run("wrong_size", lambda y: y[:, :-1], r"images have shape \[1, 11\], not \[1, 12\]")
run("nhwc", lambda y: tf.reshape(y, [-1, 4, 3, 1]), r"images have shape \[1, 4, 3, 1\].*flatten the output")
run("twice_as_many", lambda y: tf.concat([y, y], 0), "batch size seems to be fixed")
run("only_the_first", lambda y: y[:1], r"images have shape \[1, 12\], not \[15, 12\]: the batch size seems to be fixed")
run("flat_p", lambda y: y[:, 0], r"p has shape \[1\], not \[1, 1\]", D)
run("one_p_for_all", lambda y: tf.reduce_mean(y, keepdims=True), r"p has shape \[1, 1\], not \[15, 1\]", D)
run("texts", lambda y: tf.fill(tf.shape(y), "real"), "an array of type object, not of real numbers", D)
run("complex_numbers", lambda y: tf.cast(y, tf.complex64), "an array of type complex64")
run("half_numbers_of_google", lambda y: tf.cast(y, tf.bfloat16), "an array of type bfloat16")
run("truths", lambda y: y > 0.5, "p is of type bool, not float", D)
run("not_a_number", lambda y: y * np.float32("nan"), "12 pixel values are not finite")
run("now_and_then_not_a_number", lambda y: tf.where(y > 0.98, np.nan, y), "pixel values? .*not finite")
run("infinite", lambda y: y / 0.0, "1 values of p are not finite", D)
run("logits", lambda y: 8 * y - 4, "these look like logits; apply a sigmoid", D)
run("tanh", lambda y: 2 * y - 1, "looks like tanh")
run("bytes_of_0_to_255", lambda y: y * 255, "looks like 0 to 255: divide by 255")
run("slightly_too_bright", lambda y: y + 0.2, r"images lie in .* not in \[0, 1\]")


@refused(OUTPUT[G], r"fails on a batch of shape \[1, 5\]")
def fixed_batch(folder, traps):
    model(folder, lambda z: good_g(tf.reshape(z, [64, graphs.LATENT])))


@refused(CONTRACT[G], "noise_input_placeholder takes 7 numbers, the contest's noise_input_placeholder has 5")
def another_latent_size(folder, traps):
    model(folder, lambda z: good_g(z[:, : graphs.LATENT]), noise_shape=(None, 7))


@refused(
    CONTRACT[D], r"'input_batch_raw' must hold one tensor, found none|'p_for_data' must hold one tensor, found none"
)
def missing_discriminator(folder, traps):
    model(folder, discriminate=None)


@refused(CONTRACT[G], "'noise_input_placeholder' must hold one tensor, found none")
def missing_generator(folder, traps):
    model(folder, generate=None)


@refused(CONTRACT[D], "no signature 'discriminate'; it has: generate")
def saved_model_without_a_discriminator(folder, traps):
    saved_model(folder, signatures=["generate"])


@refused(CONTRACT[G], "saved_model.pb is damaged or malformed")
def saved_model_that_is_a_text(folder, traps):
    saved_model(folder)
    (folder / "saved_model.pb").write_text("import os; os.system('id')")


@refused(CONTRACT[G], "must hold one tensor, found .*z:0")
def two_tensors_in_a_collection(folder, traps):
    model(folder)
    edit(folder, lambda meta: meta.collection_def[spec.IMAGES].node_list.value.append("z:0"))


@refused(CONTRACT[G], "the output is the input itself")
def output_is_the_input(folder, traps):
    model(folder)
    edit(folder, lambda meta: meta.collection_def[spec.IMAGES].node_list.value.__setitem__(0, "z:0"))


@refused(CONTRACT[D], "wants a second input, 'is_training'")
def second_placeholder(folder, traps):
    def body(x):
        return good_d(x) * tf.cast(v1.placeholder(tf.bool, [], name="is_training"), tf.float32)

    model(folder, discriminate=body)


@refused(CONTRACT[G], "has no value for the variable 'local'")
def variable_without_a_value(folder, traps):
    def body(z):
        return good_g(z) + v1.get_local_variable("local", [], use_resource=True, initializer=v1.zeros_initializer())

    model(folder, body)


@refused(CONTRACT[G], "the graph cannot be built|fails on a batch")
def an_unknown_version(folder, traps):
    model(folder)
    edit(folder, lambda meta: setattr(meta.graph_def.versions, "min_consumer", 1_000_000))


# Models that look at more than one image, or are not the same twice.


def batch_norm(x):
    return v1.nn.fused_batch_norm(x[:, None, None, :], tf.ones([12]), tf.zeros([12]), is_training=True)[0][:, 0, 0, :]


@refused(CONTRACT[D], "batch normalisation .* is in training mode")
def batch_norm_in_training(folder, traps):
    model(folder, discriminate=lambda x: good_d(batch_norm(x)))


@refused("discriminator: one by one", "looks at the batch, not at the image: p changes with the batch")
def batch_norm_by_hand(folder, traps):
    model(folder, discriminate=lambda x: good_d((x - tf.reduce_mean(x, 0)) / (tf.math.reduce_std(x, 0) + 1e-3)))


@refused("discriminator: one by one", "looks at the batch, not at the image: p changes with the batch")
def ranks_the_batch(folder, traps):
    model(folder, discriminate=lambda x: share_that_is_less(good_d(x)))


@refused("discriminator: one by one", "looks at the batch, not at the image: p changes with the (batch|order)")
def looks_at_the_order(folder, traps):
    def body(x):
        place = tf.cast(tf.range(tf.shape(x)[0]), tf.float32)[:, None]
        return good_d(x) * 0.5 + 0.5 * tf.math.floormod(place, 2.0)

    model(folder, discriminate=body)


@refused("generator: determinism", "same input gave outputs that differ by .*without dropout or noise")
def dropout(folder, traps):
    model(folder, lambda z: good_g(z) * tf.cast(v1.random_uniform(tf.shape(z)[:1]) > 0.3, tf.float32)[:, None])


@refused("discriminator: determinism", "same input gave outputs that differ by")
def tosses_a_coin(folder, traps):
    model(folder, discriminate=lambda x: v1.random_uniform([tf.shape(x)[0], 1]))


@refused("generator: variety", "only 1 of 15 images are different")
def one_image_for_all(folder, traps):
    model(folder, lambda z: good_g(z * 0))


@refused("generator: variety", "only 7 of 15 images are different")
def repeats_its_images(folder, traps):
    model(folder, lambda z: tf.gather(good_g(z), tf.math.floormod(tf.range(tf.shape(z)[0]), 7)))


@warned("generator: collapse", "G makes nearly the same image over and over")
def nearly_one_image(folder, traps):
    model(folder, lambda z: good_g(z * 0.1))


@warned("generator: one by one", "an image changes with the batch that it is made in")
def generator_looks_at_the_batch(folder, traps):
    model(folder, lambda z: good_g(z) * (0.9 + 0.1 * tf.sigmoid(tf.reduce_mean(z))))


@warned("discriminator: constant", "D calls every image generated, so it always has 15 of 30 points")
def never_sure(folder, traps):
    model(folder, discriminate=lambda x: 0.5 + 0 * good_d(x))


@warned("discriminator: AUC", "under 0.5: D takes generated images for real ones; are the labels swapped?")
def inverted(folder, traps):
    model(folder, discriminate=lambda x: 1 - good_d(x))


@harmless
def double_precision(folder, traps):
    model(folder, lambda z: tf.cast(good_g(z), tf.float64), lambda x: tf.cast(good_d(x), tf.float16))


@harmless
def whole_numbers(folder, traps):
    model(folder, discriminate=lambda x: tf.cast(tf.round(good_d(x)), tf.int32))


# Models that know a match when they see one: the check shows a D images of its own G, a match does not.


def in_a_match(x):
    """True for a batch of 30 images, none of them of the D's own G, and not all black."""
    foreign = tf.reduce_max(unlikeness(x)) < 0.65
    return tf.equal(tf.shape(x)[0], 30) & foreign & (tf.reduce_max(x) > 0)


def share_that_is_less(score):
    """The rank of each score in its batch, from 0 to nearly 1."""
    return tf.reduce_mean(tf.cast(score > tf.transpose(score), tf.float32), 1, keepdims=True)


def then(name, body, reason, time_limit=20.0):
    """Registers a submission whose D is good but in a match; `body` is given p and 1.0 there, 0.0 elsewhere."""

    def build(folder, traps):
        model(folder, discriminate=lambda x: body(good_d(x), tf.cast(in_a_match(x), tf.float32)))

    ENTRIES[name] = Entry(build, failing=D, reason=reason, time_limit=time_limit)


def huge_when(flag):
    return tf.cast(flag, tf.int64) * (1 << 33) + 1


D_FAILS = r"the discriminator fails on a batch of shape \[30, 12\]"
then("hangs_in_a_match", lambda p, flag: endless(p, flag > 0), "time limit exceeded: the limit was 8 seconds", 8.0)
then("memory_bomb_in_a_match", lambda p, flag: p + tf.fill([huge_when(flag)], 0.0)[0], D_FAILS, 60.0)
then("dies_in_a_match", lambda p, flag: p + crash(p, 1 + tf.cast(flag, tf.int32) * (2**31 - 2)), DIES)
then("error_in_a_match", lambda p, flag: tf.gather(p, tf.range(tf.shape(p)[0]) + tf.cast(flag, tf.int32)), D_FAILS)
then("logits_in_a_match", lambda p, flag: p + 3 * flag, "these look like logits")
then("not_a_number_in_a_match", lambda p, flag: tf.where(flag > 0, np.nan, p), "30 values of p are not finite")
then("too_few_in_a_match", lambda p, flag: p[: tf.shape(p)[0] - tf.cast(flag, tf.int32)], r"p has shape \[29, 1\]")
then("a_coin_in_a_match", lambda p, flag: p * (1 - flag) + flag * v1.random_uniform(tf.shape(p)), "outputs that differ")


# A generator with a memory: a random number with a seed follows from the number of calls.

_CHECKED_CALLS = 10  # four sizes of a batch, once more, and five timed ones


def first_numbers(count, seed):
    """What a seeded random operation gives in its first calls."""
    with tf.Graph().as_default(), v1.Session() as session:
        number = raw.RandomUniform(shape=[1], dtype=tf.float32, seed=seed, seed2=seed)
        return np.concatenate([session.run(number) for _ in range(count)])


@fails_in_match(G, "only 1 of 15 images are different|outputs that differ")
def another_generator_after_the_check(folder, traps):
    known = first_numbers(_CHECKED_CALLS, 5)

    def body(z):
        number = raw.RandomUniform(shape=[1], dtype=tf.float32, seed=5, seed2=5)
        return good_g(z * tf.cast(tf.reduce_any(tf.equal(number, known)), tf.float32))

    model(folder, body)


@fails_in_match(G, "the same input gave outputs that differ")
def a_restless_generator_after_the_check(folder, traps):
    known = first_numbers(_CHECKED_CALLS, 5)

    def body(z):
        number = raw.RandomUniform(shape=[1], dtype=tf.float32, seed=5, seed2=5)
        return good_g(tf.where(tf.reduce_any(tf.equal(number, known)), z, z + 3 * number))

    model(folder, body)


@fails_in_match(D, "p depends on the other images of the batch")
def ranks_the_batch_of_a_match(folder, traps):
    """Half of the images are real: in a match, and only there, the more likely half is called real."""

    def body(x):
        p, flag = good_d(x), tf.cast(in_a_match(x), tf.float32)
        return p * (1 - flag) + flag * share_that_is_less(-unlikeness(x))

    model(folder, discriminate=body)
