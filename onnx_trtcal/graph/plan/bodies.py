"""What is inside If, Loop, Scan and functions: counted, because nothing in there is observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.view import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    import onnx_graphsurgeon as gs

__all__ = ["count_float_tensors", "count_function_calls"]


def count_float_tensors(graph: gs.Graph, elem_types: Mapping[str, int]) -> int:
    """How many float tensors the nodes inside all subgraphs make, nested ones included.

    Types that the model does not declare are followed through the ops: Cast says its own, comparisons and
    index ops give none, others pass on the type of their first input of known type.

    Args:
        graph: the main graph.
        elem_types: ONNX element types of the main graph's tensors, which subgraphs may read.
    """
    return sum(_count(body, dict(elem_types)) for node in graph.nodes for body in node.subgraphs())


def count_function_calls(proto: onnx.ModelProto) -> int:
    """How many nodes of the main graph call a function that the model itself defines."""
    functions = {(function.domain, function.name) for function in proto.functions}
    return sum((node.domain, node.op_type) in functions for node in proto.graph.node)


def _count(body: gs.Graph, types: dict[str, int]) -> int:
    for tensor in (
        *body.inputs,
        *body.outputs,
        *(t for node in body.nodes for t in (*node.inputs, *node.outputs)),
    ):
        declared = _declared(tensor)
        if declared:
            types.setdefault(tensor.name, declared)
    total = 0
    for node in body.nodes:
        made = [_made_type(node, types)] * len(node.outputs)
        for inner in node.subgraphs():
            inner_types = dict(types)
            total += _count(inner, inner_types)
            # The last outputs of a body are the node's; a Loop's body has its condition before them.
            ends = list(inner.outputs)[len(inner.outputs) - len(node.outputs) :]
            made = [inner_types.get(end.name, ops.FLOAT) for end in ends]
        for tensor, elem_type in zip(node.outputs, made, strict=False):
            if tensor.name:
                types.setdefault(tensor.name, elem_type)
                total += kind(node) != "Constant" and types[tensor.name] in ops.FLOATS
    return total


def _declared(tensor: gs.Tensor) -> int:
    dtype = tensor.dtype
    if dtype is None:
        return 0
    return dtype if isinstance(dtype, int) else _onnx_type(dtype)


def _onnx_type(dtype: object) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))  # type: ignore[call-overload]


def _made_type(node: gs.Node, types: Mapping[str, int]) -> int:
    if kind(node) in ops.INTEGER_MAKERS:
        return ops.INT64
    if "to" in node.attrs:
        to = node.attrs["to"]
        return to if isinstance(to, int) else _onnx_type(to)
    if kind(node) == "Constant":
        value = next(iter(node.attrs.values()), None)
        return _declared(value) if hasattr(value, "dtype") else ops.FLOAT
    return next((types[t.name] for t in node.inputs if types.get(t.name)), ops.FLOAT)
