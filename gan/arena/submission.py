"""The door: takes a stranger's folder and returns models that can be run without trusting it.

No saver, no loader, no initialiser and no queue runner of the submission is ever called. Protobuf messages are parsed,
the part between the contract's tensors is cut out (`subgraph`), and weights are read as plain arrays.
"""

import contextlib
import dataclasses

import numpy as np
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2, trackable_object_graph_pb2
from tensorflow.python.framework import errors
from tensorflow.python.training import py_checkpoint_reader

from gan import spec
from gan.arena import freezing, subgraph
from gan.errors import SubmissionError, first_line

# What Python raises where a message says something impossible: an unknown type, an input that is not there.
_MALFORMED = (TypeError, ValueError, LookupError, RecursionError, OverflowError)
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclasses.dataclass(frozen=True)
class FrozenModel:
    """One half of a submission, ready to run anywhere.

    Attributes:
      role: `spec.GENERATOR` or `spec.DISCRIMINATOR`.
      graph_def: allowed operations and constants only.
      input, output: names of the two tensors.
      origin: which checkpoint of the submission it came from.
    """

    role: spec.Role
    graph_def: object
    input: str
    output: str
    origin: str


def load(folder, checkpoint, role):
    """Reads one half of a submission.

    Args:
      folder: a `pathlib.Path` to the files of a `snapshot.Snapshot`.
      checkpoint: the name of its TF1 checkpoint, or None where it is a SavedModel.
      role: `spec.GENERATOR` or `spec.DISCRIMINATOR`.

    Returns:
      A `FrozenModel`.

    Raises:
      SubmissionError: the submission may not battle.
    """
    try:
        return _load_checkpoint(folder / checkpoint, role) if checkpoint else _load_saved_model(folder, role)
    except (message.DecodeError, *_MALFORMED) as error:
        name = f"{checkpoint}.meta" if checkpoint else "saved_model.pb"
        raise SubmissionError(f"{name} is damaged or malformed ({error})") from None


def _load_checkpoint(prefix, role):
    meta_graph = meta_graph_pb2.MetaGraphDef.FromString(prefix.with_name(f"{prefix.name}.meta").read_bytes())
    ends = [_from_collection(meta_graph, name) for name in (role.input, role.output)]
    graph_def, model_input = subgraph.cut(meta_graph.graph_def, *ends)
    keys = {node.name: node.name for node in freezing.variable_nodes(graph_def)}
    freezing.freeze(graph_def, _read_values(prefix, keys))
    return FrozenModel(role, graph_def, model_input, ends[1], prefix.name)


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


def _load_saved_model(folder, role):
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
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
    prefix = folder / "variables" / "variables"
    keys = _object_keys(meta_graph, graph_def, prefix)
    freezing.freeze(graph_def, _read_values(prefix, keys))
    return FrozenModel(role, graph_def, placeholder, output, "saved_model.pb")


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
    nodes = {node.name: node for node in freezing.variable_nodes(graph_def)}
    checkpoint_keys = _checkpoint_keys(meta_graph.object_graph_def, prefix) if nodes else {}
    concrete = meta_graph.object_graph_def.concrete_functions
    keys = {}
    for call in graph_def.node:
        if "f" not in call.attr or call.attr["f"].func.name not in concrete:  # looking at an attribute makes it
            continue
        bound = concrete[call.attr["f"].func.name].bound_inputs
        edges = [edge for edge in call.input if not edge.startswith("^")]
        for edge, object_id in zip(edges[len(edges) - len(bound) :], bound, strict=False):
            if edge in nodes and object_id in checkpoint_keys:
                keys[edge] = checkpoint_keys[object_id]
    return {name: keys.get(name, name) for name in nodes}  # SavedModels of TF1 have the node's name as the key


def _checkpoint_keys(objects, prefix):
    """Returns {id in the SavedModel's object graph: checkpoint key}, walking both graphs from their roots."""
    with _blaming_checkpoint(prefix):
        reader = py_checkpoint_reader.NewCheckpointReader(str(prefix))
        if not reader.has_tensor(_OBJECT_GRAPH):
            return {}
        saved = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_OBJECT_GRAPH))
    children = [{child.local_name: child.node_id for child in node.children} for node in saved.nodes]
    keys, pairs, seen = {}, [(0, 0)], set()
    while pairs:
        here, there = pairs.pop()
        if here in seen or not (0 <= here < len(objects.nodes) and 0 <= there < len(saved.nodes)):
            continue
        seen.add(here)
        for attribute in saved.nodes[there].attributes:
            if attribute.name == "VARIABLE_VALUE":
                keys[here] = attribute.checkpoint_key
        for child in objects.nodes[here].children:
            if child.local_name in children[there]:
                pairs.append((child.node_id, children[there][child.local_name]))
    return keys


def _read_values(prefix, keys):
    """Reads arrays from a checkpoint: {name: key} gives {name: array}.

    Raises:
      SubmissionError: the checkpoint is damaged, lacks a key, or its arrays are too large.
    """
    if not keys:
        return {}
    with _blaming_checkpoint(prefix):
        reader = py_checkpoint_reader.NewCheckpointReader(str(prefix))
        shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        missing = sorted(key for key in keys.values() if key not in shapes)
        if missing:
            raise SubmissionError(f"the checkpoint {prefix.name} has no value for the variable {missing[0]!r}")
        sizes = [subgraph.tensor_bytes(shapes[key], kinds[key]) for key in keys.values()]
        if sum(sizes) > subgraph.MAX_TOTAL_BYTES or max(sizes) > subgraph.MAX_TENSOR_BYTES:
            raise SubmissionError(
                f"the weights take {sum(sizes)} bytes, the largest {max(sizes)}; allowed are "
                f"{subgraph.MAX_TOTAL_BYTES} and {subgraph.MAX_TENSOR_BYTES}"
            )
        return {name: np.asarray(reader.get_tensor(key)) for name, key in keys.items()}


@contextlib.contextmanager
def _blaming_checkpoint(prefix):
    try:
        yield
    except (errors.OpError, RuntimeError, *_MALFORMED) as error:
        reason = first_line(error).replace(f"{prefix.parent}/", "")  # the path of our copy means nothing to a team
        raise SubmissionError(f"the checkpoint {prefix.name} cannot be read ({reason})") from None
