"""Cuts the part of a stranger's graph that makes the output from the input, and checks every operation in it.

Nothing is run here and nothing is imported into TensorFlow: a graph is a protobuf message, and these are functions on
messages.
"""

import math

from tensorflow.core.framework import graph_pb2, node_def_pb2
from tensorflow.python.framework import dtypes

from gan.arena import allowed_ops
from gan.errors import SubmissionError

MAX_NODES = 50_000
MAX_EXPANDED_NODES = 200_000  # after every function call is written out
MAX_CALL_DEPTH = 64
MAX_TENSOR_BYTES = 256 << 20
MAX_TOTAL_BYTES = 1 << 30  # a protobuf message ends at 2 GB


def cut(graph_def, input_tensor, output_tensor):
    """Returns the nodes between two tensors as a new GraphDef, with the functions that they call.

    Args:
      graph_def: the stranger's graph; not changed.
      input_tensor: "name:0"; whatever makes it is left out and a placeholder stands in its place.
      output_tensor: "name:0".

    Returns:
      (GraphDef, name of the placeholder's tensor). Functions stand after the functions that they call.

    Raises:
      SubmissionError: an operation is not allowed, a name is missing, or a bound is broken.
    """
    nodes = {node.name: node for node in graph_def.node}
    if len(nodes) != len(graph_def.node):
        raise SubmissionError("two nodes of the graph have the same name")
    source = _split(input_tensor)
    if source[0] not in nodes:
        raise SubmissionError(f"the input {input_tensor!r} is not in the graph")
    if _split(output_tensor) == source:
        raise SubmissionError("the output is the input itself")
    placeholder = "contest_input"
    while placeholder in nodes:
        placeholder += "_"

    result = graph_pb2.GraphDef(versions=graph_def.versions)
    result.node.append(_placeholder(placeholder, nodes[source[0]]))
    wanted, visited = [_split(output_tensor)[0]], set()
    while wanted:
        name = wanted.pop()
        if name in visited:
            continue
        visited.add(name)
        if name not in nodes:
            raise SubmissionError(f"the node {name!r} is used but not in the graph")
        if len(visited) > MAX_NODES:
            raise SubmissionError(f"more than {MAX_NODES} nodes")
        node = result.node.add()
        node.CopyFrom(nodes[name])
        for i, edge in enumerate(node.input):
            if not edge.startswith("^") and _split(edge) == source:
                node.input[i] = placeholder
            else:
                wanted.append(_split(edge)[0])

    functions = {function.signature.name: function for function in graph_def.library.function}
    for name in _called_functions(result.node, functions):
        result.library.function.add().CopyFrom(functions[name])
    _check(result, placeholder)
    _strip(result)
    return result, f"{placeholder}:0"


def _split(tensor):
    """("name", index) of "name:index", "name" or "^name"."""
    name, _, index = tensor.lstrip("^").partition(":")
    return name, int(index) if index.isdecimal() and len(index) < 10 else 0


def _placeholder(name, source):
    node = node_def_pb2.NodeDef(name=name, op="Placeholder")
    kinds = [source.attr[key].type for key in ("dtype", "DstT", "T") if key in source.attr and source.attr[key].type]
    floating = kinds and dtypes.as_dtype(kinds[0]).is_floating
    node.attr["dtype"].type = kinds[0] if floating else dtypes.float32.as_datatype_enum
    if source.op == "Placeholder" and "shape" in source.attr:
        node.attr["shape"].shape.CopyFrom(source.attr["shape"].shape)
    else:
        node.attr["shape"].shape.unknown_rank = True
    return node


def function_names(node):
    """Yields the names of the functions that a node calls."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _called_functions(nodes, functions):
    """Returns the names of all functions called from `nodes`, transitively, callees first.

    Raises:
      SubmissionError: a function is missing, calls itself, or the calls nest or multiply beyond the bounds.
    """
    sizes, depths = {}, {}  # of a function with every call in it written out
    active = set()  # functions on the way from `nodes` to the one that is looked at
    pending = list(dict.fromkeys(name for node in nodes for name in function_names(node)))
    while pending:
        name = pending[-1]
        if name in sizes:
            pending.pop()
            continue
        if name not in functions:
            raise SubmissionError(f"the function {name!r} is called but not in the graph")
        callees = [callee for node in functions[name].node_def for callee in function_names(node)]
        unknown = [callee for callee in dict.fromkeys(callees) if callee not in sizes]
        if any(callee in active or callee == name for callee in unknown):
            raise SubmissionError(f"the function {name!r} calls itself")
        if unknown:
            active.add(name)
            if len(active) > MAX_CALL_DEPTH:
                raise SubmissionError(f"function calls nest deeper than {MAX_CALL_DEPTH}")
            pending.extend(unknown)
            continue
        active.discard(name)
        pending.pop()
        sizes[name] = len(functions[name].node_def) + sum(sizes[callee] for callee in callees)
        depths[name] = 1 + max((depths[callee] for callee in callees), default=0)
    total = len(nodes) + sum(sizes[name] for node in nodes for name in function_names(node))
    if max(total, *sizes.values(), 0) > MAX_EXPANDED_NODES:
        raise SubmissionError(f"function calls write out to more than {MAX_EXPANDED_NODES} nodes")
    if max(depths.values(), default=0) > MAX_CALL_DEPTH:
        raise SubmissionError(f"function calls nest deeper than {MAX_CALL_DEPTH}")
    return list(sizes)


def _all_nodes(graph_def):
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _check(graph_def, placeholder):
    constant_bytes = 0
    for node in _all_nodes(graph_def):
        if node.op not in allowed_ops.ALLOWED:
            raise SubmissionError(
                f"the operation {node.op} ({node.name}) is not allowed: {allowed_ops.advice(node.op)}"
            )
        if node.op == "Placeholder" and node.name != placeholder:
            raise SubmissionError(
                f"the model wants a second input, {node.name!r}: export a graph in which it is a constant"
            )
        _refuse_open_attributes(node)
        if node.op.startswith("FusedBatchNorm") and ("is_training" not in node.attr or node.attr["is_training"].b):
            raise SubmissionError(
                f"batch normalisation ({node.name}) is in training mode, so one image changes the others: "
                "export with training off (is_training=False)"
            )
        if node.op == "Const":
            constant_bytes += _constant_bytes(node)
    if constant_bytes > MAX_TOTAL_BYTES:
        raise SubmissionError(f"the constants take {constant_bytes} bytes; at most {MAX_TOTAL_BYTES} are allowed")
    for function in graph_def.library.function:
        if any(node.op in ("VarHandleOp", "VariableV2", "Variable") for node in function.node_def):
            raise SubmissionError(f"the function {function.signature.name!r} makes variables of its own")


def _refuse_open_attributes(node):
    """An attribute that a caller fills in later could become anything: another function, training mode, a huge size."""
    for name, value in node.attr.items():
        calls = [value.func] if value.HasField("func") else value.list.func
        if value.placeholder or any(call.attr for call in calls):
            raise SubmissionError(f"the attribute {name!r} of {node.op} ({node.name}) is left open to its caller")


def _constant_bytes(node):
    """The size of a constant's tensor: a few bytes can declare many gigabytes."""
    tensor = node.attr["value"].tensor
    kind = dtypes.as_dtype(tensor.dtype)
    if kind in (dtypes.variant, dtypes.resource):  # TensorFlow believes whatever such a constant says that it is
        raise SubmissionError(f"the constant {node.name!r} is of type {kind.name}, not of numbers")
    size = tensor_bytes([dim.size for dim in tensor.tensor_shape.dim], tensor.dtype)
    if size > MAX_TENSOR_BYTES:
        raise SubmissionError(f"the constant {node.name!r} takes {size} bytes; at most {MAX_TENSOR_BYTES} are allowed")
    return size


def tensor_bytes(shape, dtype):
    return math.prod(max(0, size) for size in shape) * max(1, dtypes.as_dtype(dtype).size or 1)


def _strip(graph_def):
    """Removes placement, hints and annotations, which say nothing about the numbers."""
    for node in _all_nodes(graph_def):
        node.device = ""
        for field in ("experimental_debug_info", "experimental_type"):
            node.ClearField(field)
        for name in [name for name in node.attr if name.startswith("_")]:
            del node.attr[name]
        for name in ("config", "config_proto", "executor_type"):
            if name in node.attr:
                node.attr[name].s = b""
    for function in graph_def.library.function:
        for field in ("attr", "arg_attr", "resource_arg_unique_id"):
            function.ClearField(field)
