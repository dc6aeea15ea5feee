"""Cuts the part of a stranger's graph that makes the output from the input, and makes it inert.

Nothing is run here and nothing is imported into TensorFlow: a graph is a protobuf message, and these are functions on
messages. What comes out consists of allowed operations only and holds every weight as a constant.
"""

import collections
import math

import tensorflow as tf

from gan.arena import allowed_ops
from gan.errors import InputError

MAX_NODES = 50_000
MAX_EXPANDED_NODES = 200_000  # after every function call is written out
MAX_TENSOR_BYTES = 256 << 20
MAX_TOTAL_BYTES = 1 << 30  # a protobuf message ends at 2 GB

_RESOURCE = tf.resource.as_datatype_enum
_CALL_TYPES = {
    "PartitionedCall": "Tin",
    "StatefulPartitionedCall": "Tin",
    "If": "Tin",
    "StatelessIf": "Tin",
    "While": "T",
    "StatelessWhile": "T",
}
_VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable")


class SubmissionError(InputError):
    """A submission that may not battle; the message says why and what to change."""


def cut(graph_def, input_tensor, output_tensor):
    """Returns the nodes between two tensors as a new GraphDef, with the functions that they call.

    Args:
      graph_def: the stranger's graph; not changed.
      input_tensor: "name:0"; whatever makes it is left out and a placeholder stands in its place.
      output_tensor: "name:0".

    Returns:
      (GraphDef, name of the placeholder's tensor).

    Raises:
      SubmissionError: an operation is not allowed, a name is missing, or a bound is broken.
    """
    nodes = {node.name: node for node in graph_def.node}
    if len(nodes) != len(graph_def.node):
        raise SubmissionError("two nodes of the graph have the same name")
    source, index = _split(input_tensor)
    if source not in nodes:
        raise SubmissionError(f"the input {input_tensor!r} is not in the graph")
    placeholder = "contest_input"
    while placeholder in nodes:
        placeholder += "_"

    wanted, visited = [_split(output_tensor)[0]], set()
    result = tf.compat.v1.GraphDef(versions=graph_def.versions)
    result.node.append(_placeholder(placeholder, nodes[source], index))
    if _split(output_tensor) == (source, index):
        raise SubmissionError("the output is the input itself")
    while wanted:
        name = wanted.pop()
        if name in visited:
            continue
        visited.add(name)
        if name not in nodes:
            raise SubmissionError(f"the node {name!r} is used but not in the graph")
        node = result.node.add()
        node.CopyFrom(nodes[name])
        for i, edge in enumerate(node.input):
            if not edge.startswith("^") and _split(edge) == (source, index):
                node.input[i] = placeholder
            else:
                wanted.append(_split(edge)[0])
    if len(result.node) > MAX_NODES:
        raise SubmissionError(f"{len(result.node)} nodes; at most {MAX_NODES} are allowed")

    functions = {function.signature.name: function for function in graph_def.library.function}
    for name in _called_functions(result.node, functions):
        result.library.function.add().CopyFrom(functions[name])
    _check(result, placeholder)
    _strip(result)
    return result, f"{placeholder}:0"


def _split(tensor):
    """("name", index) of "name:index", "name" or "^name"."""
    name, _, index = tensor.lstrip("^").partition(":")
    return name, int(index) if index.isdecimal() else 0


def _placeholder(name, source, index):
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    kind = next((source.attr[key].type for key in ("dtype", "DstT", "T") if source.attr[key].type), 0)
    floating = kind and tf.as_dtype(kind).is_floating
    node.attr["dtype"].type = kind if floating else tf.float32.as_datatype_enum
    if source.op == "Placeholder":
        node.attr["shape"].shape.CopyFrom(source.attr["shape"].shape)
    else:
        node.attr["shape"].shape.unknown_rank = True
    return node


def _function_names(node):
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _called_functions(nodes, functions):
    """Returns the names of all functions called from `nodes`, transitively, callees first.

    Raises:
      SubmissionError: a function is missing, calls itself, or the calls multiply beyond the bound.
    """
    sizes = {}  # nodes of a function with every call in it written out

    def expanded(body):
        return len(body) + sum(sizes[name] for node in body for name in _function_names(node))

    pending = [(name, ()) for node in nodes for name in _function_names(node)]
    while pending:
        name, callers = pending.pop()
        if name in sizes:
            continue
        if name in callers:
            raise SubmissionError(f"the function {name!r} calls itself")
        if name not in functions:
            raise SubmissionError(f"the function {name!r} is called but not in the graph")
        body = functions[name].node_def
        missing = [callee for node in body for callee in _function_names(node) if callee not in sizes]
        if missing:
            pending.append((name, callers))
            pending.extend((callee, (*callers, name)) for callee in missing)
        else:
            sizes[name] = expanded(body)
            if sizes[name] > MAX_EXPANDED_NODES:
                break
    if max(sizes.values(), default=0) > MAX_EXPANDED_NODES or expanded(nodes) > MAX_EXPANDED_NODES:
        raise SubmissionError(f"function calls write out to more than {MAX_EXPANDED_NODES} nodes")
    return list(sizes)


def _all_nodes(graph_def):
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _check(graph_def, placeholder):
    for node in _all_nodes(graph_def):
        if node.op not in allowed_ops.ALLOWED:
            raise SubmissionError(
                f"the operation {node.op} ({node.name}) is not allowed: {allowed_ops.advice(node.op)}"
            )
        if node.op == "Placeholder" and node.name != placeholder:
            raise SubmissionError(
                f"the model wants a second input, {node.name!r}: export a graph in which it is a constant"
            )
        if node.op.startswith("FusedBatchNorm") and (node.attr["is_training"].b or "is_training" not in node.attr):
            raise SubmissionError(
                f"batch normalisation ({node.name}) is in training mode, so one image changes the others: "
                "export with training off (is_training=False)"
            )
        if node.op == "Const":
            _check_size(node.name, node.attr["value"].tensor)
    for function in graph_def.library.function:
        if any(node.op in _VARIABLE_OPS for node in function.node_def):
            raise SubmissionError(f"the function {function.signature.name!r} makes variables of its own")


def _check_size(name, tensor):
    """A few bytes can declare a tensor of many gigabytes."""
    size = tensor_bytes([dim.size for dim in tensor.tensor_shape.dim], tensor.dtype)
    if size > MAX_TENSOR_BYTES:
        raise SubmissionError(f"the constant {name!r} takes {size} bytes; at most {MAX_TENSOR_BYTES} are allowed")


def tensor_bytes(shape, dtype):
    return math.prod(max(0, size) for size in shape) * max(1, tf.as_dtype(dtype).size or 1)


def _strip(graph_def):
    """Removes placement, hints and annotations, which say nothing about the numbers."""
    for node in _all_nodes(graph_def):
        node.device = ""
        node.ClearField("experimental_debug_info")
        for name in [name for name in node.attr if name.startswith("_")]:
            del node.attr[name]
    for function in graph_def.library.function:
        for field in ("attr", "arg_attr", "resource_arg_unique_id"):
            function.ClearField(field)


def variable_nodes(graph_def):
    """Returns the nodes that stand for weights."""
    return [node for node in graph_def.node if node.op in _VARIABLE_OPS]


def freeze(graph_def, values):
    """Replaces variables by constants, in place.

    Args:
      graph_def: from `cut`.
      values: {node name: array}, one for each of `variable_nodes`.

    Raises:
      SubmissionError: a variable is used other than by reading it.
    """
    held = {}  # tensors that carried a variable's handle -> the type of the value that they carry now
    for node in variable_nodes(graph_def):
        value = values[node.name]
        if node.op == "VarHandleOp":
            held[node.name] = tf.as_dtype(value.dtype).as_datatype_enum
        constant = tf.compat.v1.NodeDef(name=node.name, op="Const")
        constant.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        node.CopyFrom(constant)
    arguments = collections.defaultdict(dict)  # function -> {place of an argument: type}
    _read_directly(graph_def.node, held, arguments)
    # Callers come after their callees in the library, so their arguments are known when it is read backwards.
    for function in reversed(graph_def.library.function):
        held = {}
        for place, kind in arguments[function.signature.name].items():
            argument = function.signature.input_arg[place]
            argument.type = kind
            held[argument.name] = kind
        reads = {
            f"{node.name}:value:0": f"{node.name}:output:0" for node in function.node_def if node.op == "ReadVariableOp"
        }
        _read_directly(function.node_def, held, arguments)
        _rename_edges(function, reads)
        for output in function.signature.output_arg:
            if output.type == _RESOURCE:
                output.type = _held_type(held, function.ret[output.name])


def _rename_edges(function, names):
    for node in function.node_def:
        node.input[:] = [names.get(edge, edge) for edge in node.input]
    for name, edge in function.ret.items():
        function.ret[name] = names.get(edge, edge)


def _read_directly(nodes, held, arguments):
    """Rewrites nodes that handle variables into nodes that handle their values."""
    waiting = [node for node in nodes if _takes_resource(node)]
    while waiting:
        ready = [node for node in waiting if all(_is_known(held, edge) for edge in _resource_edges(node))]
        if not ready:
            node = waiting[0]
            raise SubmissionError(f"{node.op} ({node.name}) uses a resource that is not a variable of the model")
        for node in ready:
            _rewrite(node, held, arguments)
        waiting = [node for node in waiting if _takes_resource(node)]


def _takes_resource(node):
    return node.op == "ReadVariableOp" or bool(_resource_edges(node))


def _resource_edges(node):
    if node.op in ("ReadVariableOp", "Identity"):
        return [node.input[0]] if node.op == "ReadVariableOp" or node.attr["T"].type == _RESOURCE else []
    return [node.input[place + _first_argument(node)] for place in _resource_places(node)]


def _resource_places(node):
    kinds = node.attr[_CALL_TYPES[node.op]].list.type if node.op in _CALL_TYPES else ()
    return [place for place, kind in enumerate(kinds) if kind == _RESOURCE]


def _first_argument(node):
    return 1 if node.op in ("If", "StatelessIf") else 0  # input 0 is the condition


def _key(edge):
    """Node outputs are "name" or "name:0" in a graph and "name:output:0" in a function."""
    parts = edge.split(":")
    return parts[0] if parts[-1] in (parts[0], "0") else f"{parts[0]}:{parts[-1]}"


def _is_known(held, edge):
    return _key(edge) in held


def _held_type(held, edge):
    if not _is_known(held, edge):
        raise SubmissionError(f"{edge!r} is a resource that is not a variable of the model")
    return held[_key(edge)]


def _rewrite(node, held, arguments):
    if node.op in ("ReadVariableOp", "Identity"):
        kind = held[_key(node.input[0])]
        if node.op == "Identity":
            held[node.name] = kind
        node.op = "Identity"
        node.ClearField("attr")
        node.attr["T"].type = kind
        return
    kinds = node.attr[_CALL_TYPES[node.op]].list.type
    for place in _resource_places(node):
        kind = held[_key(node.input[place + _first_argument(node)])]
        kinds[place] = kind
        for name in _function_names(node):
            arguments[name][place] = kind
        if node.op in ("While", "StatelessWhile"):  # a loop hands its arguments on
            held[node.name if place == 0 else f"{node.name}:{place}"] = kind
