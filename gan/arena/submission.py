"""The door: takes a stranger's folder and returns models that can be run without trusting it.

No saver, no loader, no initialiser and no queue runner of the submission is ever called. Protobuf messages are parsed,
the part between the contract's tensors is cut out (`subgraph`), and weights are read as plain arrays.
"""

import contextlib
import dataclasses
import pathlib
import re
import tempfile

import numpy as np
import tensorflow as tf
from google.protobuf import message, text_format
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2
from tensorflow.python.training import checkpoint_state_pb2

from gan import spec, storage
from gan.arena import subgraph
from gan.arena.subgraph import SubmissionError

MAX_FILE_BYTES = 1 << 30

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclasses.dataclass(frozen=True)
class FrozenModel:
    """One half of a submission, ready to run anywhere.

    Attributes:
      role: `spec.GENERATOR` or `spec.DISCRIMINATOR`.
      graph_def: allowed operations and constants only.
      input, output: names of the two tensors.
      origin: which file of the submission it came from.
    """

    role: spec.Role
    graph_def: object
    input: str
    output: str
    origin: str


def load(folder, role):
    """Reads one half of a submission.

    Args:
      folder: an `epath.Path`, local or `gs://`.
      role: `spec.GENERATOR` or `spec.DISCRIMINATOR`.

    Returns:
      A `FrozenModel`.

    Raises:
      SubmissionError: the folder holds no submission, or one that may not battle.
    """
    with _snapshot(folder) as local:
        try:
            if (local / "checkpoint").exists():
                return _load_checkpoint(local, role)
            return _load_saved_model(local, role)
        except message.DecodeError as error:
            raise SubmissionError(f"{folder}: a protobuf file is damaged ({error})") from None
        except SubmissionError as error:
            raise SubmissionError(f"{folder}, {role.name}: {error}") from None


@contextlib.contextmanager
def _snapshot(folder):
    """Copies the files of the submission, and nothing else, to a temporary folder of ours."""
    with tempfile.TemporaryDirectory(prefix="gan-submission-") as temporary:
        local = pathlib.Path(temporary)
        for name in _files_of_submission(folder):
            source = folder / name
            if storage.is_local(folder) and pathlib.Path(source).is_symlink():
                raise SubmissionError(f"{source} is a link; a submission holds files of its own")
            if source.stat().length > MAX_FILE_BYTES:
                raise SubmissionError(
                    f"{source} has {source.stat().length} bytes; at most {MAX_FILE_BYTES} are allowed"
                )
            (local / name).parent.mkdir(exist_ok=True)
            storage.copy_file(source, storage.path(local / name))
        yield local


def _files_of_submission(folder):
    if (folder / "checkpoint").exists():
        prefix = _checkpoint_name((folder / "checkpoint").read_text(), folder)
        names = [f"{prefix}.meta", f"{prefix}.index"]
        data = re.compile(re.escape(prefix) + r"\.data-\d{5}-of-\d{5}")
        names += sorted(entry.name for entry in folder.iterdir() if data.fullmatch(entry.name))
        needed = "checkpoint"
    elif (folder / "saved_model.pb").exists():
        variables = folder / "variables"
        names = ["saved_model.pb", "variables/variables.index"]
        if variables.exists():
            names += sorted(f"variables/{entry.name}" for entry in variables.iterdir() if ".data-" in entry.name)
        needed = "saved_model.pb"
    else:
        raise SubmissionError(
            f"{folder} holds no submission: expected a TF1 checkpoint ('checkpoint', model.ckpt-N.*) or a SavedModel "
            "('saved_model.pb'), as gan.train writes them"
        )
    missing = [name for name in names[:2] if not (folder / name).exists()]
    if missing:
        raise SubmissionError(f"{folder}: {missing[0]} is missing, which {needed!r} asks for")
    return [*dict.fromkeys((needed, *names))]


def _checkpoint_name(text, folder):
    """The newest checkpoint's file name; older savers wrote a path of their own machine before it."""
    try:
        state = text_format.Parse(text, checkpoint_state_pb2.CheckpointState())
    except text_format.ParseError as error:
        raise SubmissionError(f"{folder}/checkpoint is damaged ({error})") from None
    name = re.split(r"[/\\]", state.model_checkpoint_path)[-1]
    if not name or name.startswith("."):
        raise SubmissionError(f"{folder}/checkpoint names no checkpoint: {state.model_checkpoint_path!r}")
    return name


def _load_checkpoint(local, role):
    prefix = _checkpoint_name((local / "checkpoint").read_text(), local)
    meta_graph = tf.compat.v1.MetaGraphDef.FromString((local / f"{prefix}.meta").read_bytes())
    ends = [_from_collection(meta_graph, name) for name in (role.input, role.output)]
    graph_def, model_input = subgraph.cut(meta_graph.graph_def, *ends)
    keys = {node.name: node.name for node in subgraph.variable_nodes(graph_def)}
    return _freeze(role, graph_def, model_input, ends[1], local / prefix, keys, f"{prefix}.meta")


def _from_collection(meta_graph, name):
    nodes = list(dict.fromkeys(meta_graph.collection_def[name].node_list.value))
    if len(nodes) != 1:
        found = ", ".join(nodes) if nodes else "none"
        present = ", ".join(sorted(key for key in meta_graph.collection_def if key.isidentifier())) or "none"
        raise SubmissionError(
            f"the graph's collection {name!r} must hold one tensor, found {found} (collections: {present}): "
            f"call tf.compat.v1.add_to_collection({name!r}, tensor) before saving"
        )
    return nodes[0]


def _load_saved_model(local, role):
    saved_model = saved_model_pb2.SavedModel.FromString((local / "saved_model.pb").read_bytes())
    signatures = [meta for meta in saved_model.meta_graphs if role.signature in meta.signature_def]
    if not signatures:
        names = sorted({name for meta in saved_model.meta_graphs for name in meta.signature_def})
        raise SubmissionError(
            f"the SavedModel has no signature {role.signature!r}; it has: {', '.join(names) or 'none'}"
        )
    meta_graph = signatures[0]
    signature = meta_graph.signature_def[role.signature]
    model_input = _endpoint(signature.inputs, role.input, "input", role)
    output = _endpoint(signature.outputs, role.output, "output", role)
    graph_def, placeholder = subgraph.cut(meta_graph.graph_def, model_input, output)
    prefix = local / "variables" / "variables"
    keys = _object_keys(meta_graph, graph_def, prefix)
    return _freeze(role, graph_def, placeholder, output, prefix, keys, "saved_model.pb")


def _endpoint(endpoints, name, kind, role):
    if set(endpoints) != {name}:
        raise SubmissionError(
            f"the signature {role.signature!r} has the {kind}s {sorted(endpoints)}; the contract wants one, {name!r}"
        )
    return endpoints[name].name


def _object_keys(meta_graph, graph_def, prefix):
    """Maps each variable's node to its key in an object-based checkpoint.

    The call of a signature's function hands over the variables that the function was bound to when it was saved, in the
    order of `bound_inputs`: places in the saved object graph, which the checkpoint's own object graph mirrors.
    """
    nodes = {node.name: node for node in subgraph.variable_nodes(graph_def)}
    checkpoint_keys = _checkpoint_keys(meta_graph.object_graph_def, prefix) if nodes else {}
    concrete = meta_graph.object_graph_def.concrete_functions
    keys = {}
    for call in graph_def.node:
        bound = concrete[call.attr["f"].func.name].bound_inputs if call.attr["f"].func.name in concrete else ()
        edges = [edge for edge in call.input if not edge.startswith("^")]
        for edge, object_id in zip(edges[len(edges) - len(bound) :], bound, strict=False):
            if edge in nodes and object_id in checkpoint_keys:
                keys[edge] = checkpoint_keys[object_id]
    return {name: keys.get(name, name) for name in nodes}  # SavedModels of TF1 have the node's name as the key


def _checkpoint_keys(objects, prefix):
    """Returns {id in the SavedModel's object graph: checkpoint key}, walking both graphs from their roots."""
    with _blaming_checkpoint(prefix):
        reader = tf.train.load_checkpoint(str(prefix))
        if not reader.has_tensor(_OBJECT_GRAPH):
            return {}
        saved = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    keys, pairs, seen = {}, [(0, 0)], set()
    while pairs:
        here, there = pairs.pop()
        if here in seen or here >= len(objects.nodes) or there >= len(saved.nodes):
            continue
        seen.add(here)
        for attribute in saved.nodes[there].attributes:
            if attribute.name == "VARIABLE_VALUE":
                keys[here] = attribute.checkpoint_key
        children = {child.local_name: child.node_id for child in saved.nodes[there].children}
        for child in objects.nodes[here].children:
            if child.local_name in children:
                pairs.append((child.node_id, children[child.local_name]))
    return keys


def _freeze(role, graph_def, model_input, output, prefix, keys, origin):
    subgraph.freeze(graph_def, _read_values(prefix, keys))
    return FrozenModel(role, graph_def, model_input, output, origin)


def _read_values(prefix, keys):
    """Reads arrays from a checkpoint: {name: key} gives {name: array}.

    Raises:
      SubmissionError: the checkpoint is damaged, lacks a key, or its arrays are too large.
    """
    if not keys:
        return {}
    with _blaming_checkpoint(prefix):
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        missing = sorted(key for key in keys.values() if key not in shapes)
        if missing:
            raise SubmissionError(f"the checkpoint {prefix.name} has no value for the variable {missing[0]!r}")
        sizes = {key: subgraph.tensor_bytes(shapes[key], kinds[key]) for key in keys.values()}
        if sum(sizes.values()) > subgraph.MAX_TOTAL_BYTES or max(sizes.values()) > subgraph.MAX_TENSOR_BYTES:
            raise SubmissionError(
                f"the weights take {sum(sizes.values())} bytes, the largest {max(sizes.values())}; allowed are "
                f"{subgraph.MAX_TOTAL_BYTES} and {subgraph.MAX_TENSOR_BYTES}"
            )
        return {name: np.asarray(reader.get_tensor(key)) for name, key in keys.items()}


@contextlib.contextmanager
def _blaming_checkpoint(prefix):
    try:
        yield
    except (tf.errors.OpError, ValueError, TypeError, RuntimeError, LookupError) as error:
        raise SubmissionError(f"the checkpoint {prefix.name} cannot be read ({str(error).splitlines()[0]})") from None
