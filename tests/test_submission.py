"""The door of the arena: what it lets in, with the right numbers, and what it refuses, with the right words."""

import os
import pathlib
import tempfile

import graphs
import numpy as np
import pytest
import tensorflow as tf

from gan import spec, storage
from gan.arena import inference, snapshot, subgraph, submission
from gan.errors import SubmissionError

v1 = tf.compat.v1


def load(folder, role):
    with tempfile.TemporaryDirectory() as store:
        files = snapshot.take(storage.path(str(folder)), storage.path(store))
        return submission.load(pathlib.Path(files.path), files.checkpoint, role)


def door(folder, role):
    return inference.Inference(load(folder, role))


def refused(folder, role=spec.GENERATOR):
    with pytest.raises(SubmissionError) as error:
        door(folder, role)(np.zeros((3, graphs.LATENT if role is spec.GENERATOR else graphs.SIZE), np.float32))
    return str(error.value)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory):
    """(folder, weights) of a checkpoint of the 2017 skeleton."""
    folder = tmp_path_factory.mktemp("skeleton")
    with graphs.tf1_checkpoint(folder, prefix="/home/team/kmlc_gan_train/"):
        weights = graphs.skeleton_2017()
        values = {name: np.array(tf.get_static_value(v.initial_value)) for name, v in weights.items()}
    return folder, values


@pytest.mark.parametrize("count", [1, 15, 30])
def test_a_checkpoint_of_2017_battles_without_its_queue(skeleton, count):
    folder, w = skeleton
    noise = np.random.default_rng(0).uniform(-1, 1, (count, graphs.LATENT)).astype(np.float32)
    images = door(folder, spec.GENERATOR)(noise)
    np.testing.assert_allclose(images, sigmoid(np.maximum(noise @ w["gw1"] + w["gb1"], 0) @ w["gw2"]), atol=1e-6)
    p = door(folder, spec.DISCRIMINATOR)(images)
    np.testing.assert_allclose(p, sigmoid(np.maximum(images @ w["dw1"] + w["db1"], 0) @ w["dw2"]), atol=1e-6)


def test_what_is_let_in_holds_constants_and_nothing_of_the_training(skeleton):
    model = load(skeleton[0], spec.DISCRIMINATOR)
    ops = {node.op for node in model.graph_def.node}
    assert ops == {"Placeholder", "Const", "Identity", "MatMul", "AddV2", "Relu", "Sigmoid"}
    assert not [node for node in model.graph_def.node if node.device or any(key[0] == "_" for key in node.attr)]


def test_both_forms_of_our_own_export_are_the_same(tiny_run):
    noise = np.random.default_rng(0).uniform(-1, 1, (9, 100)).astype(np.float32)
    found = []
    for folder in (tiny_run[0], tiny_run[0] / "export" / "step_6"):
        images = door(folder, spec.GENERATOR)(noise)
        found.append((images, door(folder, spec.DISCRIMINATOR)(images)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0][0].shape == (9, 784)


def test_nodes_keep_the_attributes_that_they_came_with(tiny_run):
    """One that is made by looking at it would be a stranger's, and TensorFlow complains of it."""
    (source,) = (
        node
        for node in load(tiny_run[0] / "export" / "step_6", spec.GENERATOR).graph_def.node
        if not node.input
        if node.op == "Placeholder"
    )
    assert set(source.attr) == {"dtype", "shape"}


def test_batch_normalisation_that_does_not_say_its_mode_is_in_training_mode():
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 1, 1, 3], name="x")
        y = v1.nn.fused_batch_norm(x, *(tf.fill([3], value) for value in (1.0, 0.0, 0.0, 1.0)), is_training=False)[0]
    graph_def = graph.as_graph_def()
    subgraph.cut(graph_def, "x:0", y.name)
    (norm,) = (node for node in graph_def.node if node.op.startswith("FusedBatchNorm"))
    del norm.attr["is_training"]
    with pytest.raises(SubmissionError, match="is in training mode"):
        subgraph.cut(graph_def, "x:0", y.name)


def save_module(folder, generate):
    """Saves a function of latents as a SavedModel's signature `generate`."""
    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(graphs.LATENT, graphs.SIZE)).astype(np.float32))
    module.bias = tf.Variable(np.arange(graphs.SIZE, dtype=np.float32))
    signature = [tf.TensorSpec([None, graphs.LATENT], tf.float32, name=spec.NOISE)]
    function = tf.function(lambda z: {spec.IMAGES: generate(module, z)}, input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"generate": function.get_concrete_function()})
    return function


def loop(module, z):
    def body(i, x, kernel):
        return i + 1, tf.sigmoid(x @ tf.convert_to_tensor(kernel)) @ tf.transpose(tf.convert_to_tensor(kernel)), kernel

    return tf.sigmoid(tf.while_loop(lambda i, *_: i < 3, body, (0, z, module.kernel))[1] @ module.kernel)


def branch(module, z):
    @tf.function
    def inner(x):
        return x @ module.kernel + module.bias

    return tf.sigmoid(tf.cond(tf.reduce_sum(z) > 1e9, lambda: inner(2 * z), lambda: inner(z) - module.bias))


def nested(module, z):
    inner = tf.function(lambda x: x @ module.kernel)
    outer = tf.function(lambda x: inner(x) + inner(-x) * 0.5 + module.bias)
    return tf.sigmoid(outer(z))


@pytest.mark.parametrize("generate", [loop, branch, nested])
def test_saved_models_with_functions_and_control_flow(generate, tmp_path):
    function = save_module(tmp_path / "model", generate)
    noise = np.random.default_rng(1).uniform(-1, 1, (4, graphs.LATENT)).astype(np.float32)
    images = door(tmp_path / "model", spec.GENERATOR)(noise)
    np.testing.assert_allclose(images, function(tf.constant(noise))[spec.IMAGES], atol=1e-6)


def test_the_checkpoint_is_preferred_and_its_name_alone_counts(tmp_path, skeleton):
    with graphs.tf1_checkpoint(tmp_path / "team", prefix="../other/"):
        graphs.generator_of(graphs.linear)
    assert door(tmp_path / "team", spec.GENERATOR)(np.zeros((2, graphs.LATENT))).shape == (2, graphs.SIZE)
    (tmp_path / "team" / "checkpoint").write_text(f'model_checkpoint_path: "{skeleton[0]}/model.ckpt-9"\n')
    assert "model.ckpt-9.meta is missing" in refused(tmp_path / "team")


def test_links_are_refused(tmp_path, skeleton):
    folder = tmp_path / "team"
    with graphs.tf1_checkpoint(folder):
        graphs.generator_of(graphs.linear)
    (folder / "model.ckpt-7.meta").unlink()
    (folder / "model.ckpt-7.meta").symlink_to(skeleton[0] / "model.ckpt-7.meta")
    assert "is a link" in refused(folder)


def test_a_submission_may_lie_on_a_remote_file_system(tmp_path):
    with graphs.tf1_checkpoint(tmp_path / "team"):
        graphs.generator_of(graphs.linear)
    for file in (tmp_path / "team").iterdir():
        storage.copy_file(storage.path(str(file)), storage.path("ram://door_team") / file.name)
    assert door("ram://door_team", spec.GENERATOR)(np.zeros((2, graphs.LATENT))).shape == (2, graphs.SIZE)


def read_a_file(z):
    with tf.control_dependencies([tf.io.read_file("/etc/passwd")]):
        return tf.identity(graphs.linear(z))


def read_a_file_on_the_side(z):
    with tf.control_dependencies([tf.io.write_file("/tmp/gan_test_pwned", "x")]):
        return tf.identity(graphs.linear(z))


def train_batch_norm(z):
    x = graphs.linear(z)[:, None, None, :]
    return v1.nn.fused_batch_norm(x, tf.ones([12]), tf.zeros([12]), is_training=True)[0][:, 0, 0, :]


def assign_moving_average(z):
    average = v1.Variable(np.zeros(12, np.float32), use_resource=True)
    with tf.control_dependencies([average.assign_add(tf.ones([12]))]):
        return tf.identity(graphs.linear(z))


def second_placeholder(z):
    return graphs.linear(z) * tf.cast(v1.placeholder(tf.bool, [], name="is_training"), tf.float32)


def python_code(z):
    return v1.py_func(lambda x: x, [graphs.linear(z)], tf.float32)


def table(z):
    return graphs.linear(z) + v1.get_local_variable("t", [12], use_resource=True, initializer=v1.zeros_initializer())


REFUSED = {
    read_a_file: "the operation ReadFile .* is not allowed: a model may not read files",
    read_a_file_on_the_side: "the operation WriteFile .* is not allowed: a model may not write files",
    train_batch_norm: "batch normalisation .* is in training mode.*training off",
    assign_moving_average: "AssignAddVariableOp .*: the graph changes its variables while it runs: export it with",
    second_placeholder: "wants a second input, 'is_training'",
    python_code: "the operation PyFunc .*Python code cannot be part of a submission",
    table: "has no value for the variable 't'",
}


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: body.__name__)
def test_a_graph_that_does_more_than_compute_is_refused(body, tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(body)
    with pytest.raises(SubmissionError, match=REFUSED[body]):
        door(tmp_path, spec.GENERATOR)
    assert not storage.path("/tmp/gan_test_pwned").exists()


def edit_meta(folder, change):
    """Changes the saved graph's protobuf message."""
    file = folder / "model.ckpt-7.meta"
    meta = v1.MetaGraphDef.FromString(file.read_bytes())
    change(meta)
    file.write_bytes(meta.SerializeToString())


def call_itself(meta):
    function = meta.graph_def.library.function.add()
    function.signature.name = "f"
    for graph in (function.node_def, meta.graph_def.node):
        node = graph.add(name="call", op="PartitionedCall")
        node.attr["f"].func.name = "f"
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append("^call")


def call_too_much(meta):
    for depth in range(40):
        function = meta.graph_def.library.function.add()
        function.signature.name = f"f{depth}"
        for twice in "ab":
            node = function.node_def.add(name=twice, op="PartitionedCall" if depth < 39 else "NoOp")
            if depth < 39:
                node.attr["f"].func.name = f"f{depth + 1}"
    meta.graph_def.node.add(name="call", op="PartitionedCall").attr["f"].func.name = "f0"
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append("^call")


def declare_gigabytes(meta):
    node = meta.graph_def.node.add(name="big", op="Const")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    tensor = node.attr["value"].tensor
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.tensor_shape.dim.add(size=3_500_000_000)
    tensor.float_val.append(1.0)
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append("^big")


def lose_a_node(meta):
    index = next(i for i, node in enumerate(meta.graph_def.node) if node.op == "MatMul")
    del meta.graph_def.node[index]


def name_twice(meta):
    meta.graph_def.node.add().CopyFrom(meta.graph_def.node[0])


def forget_the_collection(meta):
    del meta.collection_def["generated_images"]


def two_outputs(meta):
    meta.collection_def["generated_images"].node_list.value.append("z:0")


def output_is_input(meta):
    meta.collection_def["generated_images"].node_list.value[:] = ["z:0"]


def break_a_type(meta):
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").attr["T"].type = tf.int32.as_datatype_enum


EDITS = {
    call_itself: "the function 'f' calls itself",
    call_too_much: "function calls write out to more than 200000 nodes",
    declare_gigabytes: "the constant 'big' takes 14000000000 bytes",
    lose_a_node: "is used but not in the graph",
    name_twice: "two nodes of the graph have the same name",
    forget_the_collection: r"collection 'generated_images' must hold one tensor, found none \(collections: .*noise",
    two_outputs: "must hold one tensor, found .*, z:0",
    output_is_input: "the output is the input itself",
    break_a_type: "the graph cannot be built",
}


@pytest.mark.parametrize("change", EDITS, ids=lambda change: change.__name__)
def test_an_edited_graph_is_refused(change, tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(graphs.linear)
    edit_meta(tmp_path, change)
    with pytest.raises(SubmissionError, match=EDITS[change]):
        door(tmp_path, spec.GENERATOR)


@pytest.mark.parametrize(
    "name", ["checkpoint", "model.ckpt-7.meta", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"]
)
@pytest.mark.parametrize("damage", ["empty", "half", "gone"])
def test_a_damaged_file_is_a_reason_not_a_traceback(name, damage, tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(graphs.linear)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    if damage == "gone":
        (tmp_path / name).unlink()
    words = refused(tmp_path)
    assert str(tmp_path) in words or "model.ckpt-7" in words or "must hold one tensor, found none" in words


def test_an_empty_folder_says_what_belongs_there(tmp_path):
    assert "holds no submission: expected a TF1 checkpoint" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "nowhere")


def test_a_saved_model_without_the_signature_is_refused(tmp_path):
    save_module(tmp_path / "model", nested)
    assert "no signature 'discriminate'; it has: " in refused(tmp_path / "model", spec.DISCRIMINATOR)


def test_a_baked_in_batch_size_is_a_reason(tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(lambda z: graphs.linear(tf.reshape(z, [128, graphs.LATENT])), (128, graphs.LATENT))
    assert "the generator fails on a batch of shape [3, 5]" in refused(tmp_path)


def test_a_training_flag_with_a_default_is_let_in(tmp_path):
    def body(z):
        training = v1.placeholder_with_default(np.float32(0), [], name="is_training")
        return graphs.linear(z) + training

    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(body)
    assert door(tmp_path, spec.GENERATOR)(np.zeros((2, graphs.LATENT))).tolist() == [[0.5] * graphs.SIZE] * 2


def a_function(meta, name):
    """Adds an empty function and a call of it, on which the output waits; returns both."""
    function = meta.graph_def.library.function.add()
    function.signature.name = name
    call = meta.graph_def.node.add(name=f"call_{name}", op="PartitionedCall")
    call.attr["f"].func.name = name
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append(f"^call_{name}")
    return function, call


def recursion_through_an_open_attribute(meta):
    function, call = a_function(meta, "f")
    call.attr["f"].func.attr["g"].func.name = "f"
    function.node_def.add(name="call", op="PartitionedCall").attr["f"].placeholder = "g"


def training_through_an_open_attribute(meta):
    function, call = a_function(meta, "f")
    call.attr["f"].func.attr["t"].b = True
    function.node_def.add(name="norm", op="FusedBatchNormV3").attr["is_training"].placeholder = "t"


def size_through_an_open_attribute(meta):
    function, call = a_function(meta, "f")
    call.attr["f"].func.attr["v"].tensor.dtype = tf.float32.as_datatype_enum
    function.node_def.add(name="big", op="Const").attr["value"].placeholder = "v"


def call_too_deep(meta):
    for depth in range(80):
        function, _ = a_function(meta, f"f{depth}")
        node = function.node_def.add(name="call", op="PartitionedCall")
        node.attr["f"].func.name = f"f{depth + 1}"
    a_function(meta, "f80")


def many_large_constants(meta):
    for i in range(5):
        declare_megabytes(meta, f"big{i}", 60_000_000)


def declare_megabytes(meta, name, count):
    node = meta.graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    tensor = node.attr["value"].tensor
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.tensor_shape.dim.add(size=count)
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append(f"^{name}")


def an_unknown_type(meta):
    declare_megabytes(meta, "odd", 1)
    next(node for node in meta.graph_def.node if node.name == "odd").attr["value"].tensor.dtype = 999


def no_inputs(meta):
    node = meta.graph_def.node.add(name="read", op="ReadVariableOp")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append("^read")


def a_very_long_number(meta):
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input[0] += ":" + "1" * 5000


def terminal_codes(meta):
    node = meta.graph_def.node.add(name="\x1b[2Jwiped" + "x" * 5000, op="WriteFile")
    next(node for node in meta.graph_def.node if node.op == "Sigmoid").input.append(f"^{node.name}")


ATTACKS = {
    recursion_through_an_open_attribute: "the attribute 'f' of PartitionedCall .* is left open to its caller",
    training_through_an_open_attribute: "is left open to its caller",
    size_through_an_open_attribute: "is left open to its caller",
    call_too_deep: "function calls nest deeper than 64",
    many_large_constants: "the constants take 1200000000 bytes",
    an_unknown_type: "model.ckpt-7.meta is damaged or malformed",
    no_inputs: "uses a resource that is not a variable|damaged or malformed|cannot be built",
    a_very_long_number: "cannot be built|damaged or malformed|used but not in the graph",
    terminal_codes: r"the operation WriteFile \(\\x1b\[2Jwiped",
}


@pytest.mark.parametrize("change", ATTACKS, ids=lambda change: change.__name__)
def test_an_attack_is_refused(change, tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(graphs.linear)
    edit_meta(tmp_path, change)
    with pytest.raises(SubmissionError, match=ATTACKS[change]) as error:
        door(tmp_path, spec.GENERATOR)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 2200


def test_long_chains_of_handles_take_no_time(tmp_path):
    """The work grows with the graph, not with its square; two thousand links once took five seconds."""
    with graphs.tf1_checkpoint(tmp_path):
        kernel = v1.get_variable("k", [graphs.LATENT, graphs.SIZE], use_resource=True)
        handle = kernel.handle
        for _ in range(20_000):
            handle = tf.raw_ops.Identity(input=handle)
        read = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        graphs.generator_of(lambda z: tf.sigmoid(z @ tf.reshape(read, [graphs.LATENT, graphs.SIZE])))
    model = load(tmp_path, spec.GENERATOR)
    assert not [node for node in model.graph_def.node if node.op == "ReadVariableOp"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "linked folder", "binary"])
def test_what_is_no_plain_file_is_refused(kind, tmp_path, tiny_run):
    folder = tmp_path / "team"
    if kind == "linked folder":
        save_module(folder, nested)
        (folder / "variables").rename(tmp_path / "other")
        (folder / "variables").symlink_to(tmp_path / "other")
        assert "is a link" in refused(folder)
        return
    with graphs.tf1_checkpoint(folder):
        graphs.generator_of(graphs.linear)
    name = "model.ckpt-7.meta" if kind == "pipe" else "checkpoint"
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(b"\xff\xfe\x00")
    assert "is damaged" in refused(folder) if kind == "binary" else "is not a plain file" in refused(folder)


def test_every_allowed_operation_exists_and_the_stateful_ones_are_known():
    from tensorflow.python.framework import op_def_registry

    from gan.arena import allowed_ops

    definitions = {name: op_def_registry.get(name) for name in allowed_ops.ALLOWED}
    assert not [name for name, definition in definitions.items() if definition is None]
    assert {name for name, definition in definitions.items() if definition.is_stateful} == {
        *("If", "While", "StatefulPartitionedCall", "RandomStandardNormal", "RandomUniform"),
        *("VarHandleOp", "Variable", "VariableV2", "ReadVariableOp"),
    }
