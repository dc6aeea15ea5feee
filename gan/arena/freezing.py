"""Replaces the variables of a cut-out graph by constants.

A variable's value reaches an operation through a handle, which may be passed into functions and loops:

    handle = VarHandleOp()                      weights = Const(value)
    call f(handle)          becomes             call f(weights)
    f(h): x = ReadVariableOp(h)                 f(h): x = Identity(h)

So every place that took a handle now takes the value itself, and its type changes from `resource` to the value's.
"""

import collections

from tensorflow.core.framework import node_def_pb2
from tensorflow.python.framework import dtypes, tensor_util

from gan.arena.subgraph import function_names
from gan.errors import SubmissionError

_RESOURCE = dtypes.resource.as_datatype_enum
_VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable")
# Operations that hand their inputs on to functions, and the attribute that lists the inputs' types.
_CALL_TYPES = {
    "PartitionedCall": "Tin",
    "StatefulPartitionedCall": "Tin",
    "If": "Tin",
    "StatelessIf": "Tin",
    "While": "T",
    "StatelessWhile": "T",
}


def variable_nodes(graph_def):
    """Returns the nodes that stand for weights."""
    return [node for node in graph_def.node if node.op in _VARIABLE_OPS]


def freeze(graph_def, values):
    """Replaces variables by constants, in place.

    Args:
      graph_def: from `subgraph.cut`: functions stand after the functions that they call.
      values: {node name: array}, one for each of `variable_nodes`.

    Raises:
      SubmissionError: a variable is used other than by reading it.
    """
    value_types = {}  # {tensor that carried a handle: type of the value that it carries now}
    for node in variable_nodes(graph_def):
        value = values[node.name]
        kind = dtypes.as_dtype(value.dtype).as_datatype_enum
        if node.op == "VarHandleOp":
            value_types[node.name] = kind
        constant = node_def_pb2.NodeDef(name=node.name, op="Const")
        constant.attr["dtype"].type = kind
        constant.attr["value"].tensor.CopyFrom(tensor_util.make_tensor_proto(value))
        node.CopyFrom(constant)
    argument_types = collections.defaultdict(dict)  # {function: {index of an argument: type of its value}}
    _pass_values(graph_def.node, value_types, argument_types)
    for function in reversed(graph_def.library.function):  # callers first, so that the arguments' types are known
        _freeze_function(function, argument_types)


def _freeze_function(function, argument_types):
    value_types = {}
    for index, kind in argument_types[function.signature.name].items():
        argument = function.signature.input_arg[index]
        argument.type = kind
        value_types[argument.name] = kind
    reads = [node.name for node in function.node_def if node.op == "ReadVariableOp"]
    _pass_values(function.node_def, value_types, argument_types)
    _rename_edges(function, {f"{name}:value:0": f"{name}:output:0" for name in reads})
    for output in function.signature.output_arg:
        if output.type == _RESOURCE:
            edge = function.ret[output.name]
            if _key(edge) not in value_types:
                raise SubmissionError(f"{edge!r} is a resource that is not a variable of the model")
            output.type = value_types[_key(edge)]


def _rename_edges(function, names):
    """The output of ReadVariableOp is called `value` inside a function, that of Identity `output`."""
    for node in function.node_def:
        node.input[:] = [names.get(edge, edge) for edge in node.input]
    for name, edge in function.ret.items():
        function.ret[name] = names.get(edge, edge)


def _pass_values(nodes, value_types, argument_types):
    """Rewrites the nodes that take handles, each once all of its handles are known to be variables.

    Args:
      value_types: {tensor: type}; what the nodes hand on is added.
      argument_types: {function: {index: type}}; the arguments of called functions are added.
    """
    waiting_for = collections.defaultdict(list)  # {tensor: nodes that take it}
    missing = {}  # {node name: number of its handles that are not known yet}
    ready = []
    for node in nodes:
        edges = {_key(edge) for edge in _handle_edges(node)}
        unknown = edges - value_types.keys()
        for edge in unknown:
            waiting_for[edge].append(node)
        if unknown:
            missing[node.name] = len(unknown)
        elif edges:
            ready.append(node)
    while ready:
        node = ready.pop()
        for tensor in _rewrite(node, value_types, argument_types):
            for taker in waiting_for.pop(tensor, ()):
                missing[taker.name] -= 1
                if not missing[taker.name]:
                    del missing[taker.name]
                    ready.append(taker)
    if missing:
        raise SubmissionError(f"{next(iter(missing))!r} uses a resource that is not a variable of the model")


def _handle_edges(node):
    if node.op == "ReadVariableOp" or (node.op == "Identity" and node.attr["T"].type == _RESOURCE):
        return node.input[:1]
    return [node.input[index + _first_argument(node)] for index in _handle_indices(node)]


def _handle_indices(node):
    kinds = node.attr[_CALL_TYPES[node.op]].list.type if node.op in _CALL_TYPES else ()
    return [index for index, kind in enumerate(kinds) if kind == _RESOURCE]


def _first_argument(node):
    return 1 if node.op in ("If", "StatelessIf") else 0  # input 0 is the condition


def _key(edge):
    """Node outputs are "name" or "name:0" in a graph and "name:output:0" in a function."""
    parts = edge.split(":")
    return parts[0] if parts[-1] in (parts[0], "0") else f"{parts[0]}:{parts[-1]}"


def _rewrite(node, value_types, argument_types):
    """Makes a node take values; returns the tensors that carry values now because of it."""
    if node.op in ("ReadVariableOp", "Identity"):
        kind = value_types[_key(node.input[0])]
        handed_on = {node.name: kind} if node.op == "Identity" else {}
        node.op = "Identity"
        node.ClearField("attr")
        node.attr["T"].type = kind
    else:
        handed_on = {}
        kinds = node.attr[_CALL_TYPES[node.op]].list.type
        for index in _handle_indices(node):
            kind = value_types[_key(node.input[index + _first_argument(node)])]
            kinds[index] = kind
            for name in function_names(node):
                argument_types[name][index] = kind
            if node.op in ("While", "StatelessWhile"):  # a loop hands its arguments on
                handed_on[node.name if index == 0 else f"{node.name}:{index}"] = kind
    value_types.update(handed_on)
    return handed_on
