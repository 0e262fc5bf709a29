"""Reinserts the activations that quantizers absorbed.

An asymmetric Q whose range starts at 0 clips as ReLU does, so ONNX Runtime's quantizer removes a Relu or ReLU6
in front of it: without the Q, the float model would be a different network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.view import kind, numpy_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.qdq.read.quantizer import Quantizer

__all__ = ["reinsert_absorbed_activations"]

_NEVER_NEGATIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"})
# Not negative if their first input is not; the inputs behind it hold sizes or axes.
_AS_FIRST_INPUT = frozenset(
    {"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Pad", "Resize", "Upsample"}
)
_AS_FIRST_INPUT |= {f"Reduce{name}" for name in ("Max", "Mean", "Min", "Sum")}
# Not negative if none of their inputs is.
_AS_ALL_INPUTS = frozenset({"Add", "Max", "Min", "Mul", "Sum"})
_RELU6 = 6.0


def reinsert_absorbed_activations(
    graph: gs.Graph, pairs: Mapping[str, tuple[Quantizer, ...]]
) -> tuple[str, ...]:
    """Adds a Relu (or ReLU6, where the range ends at 6) behind tensors that only a Q kept from being negative.

    Args:
        graph: a float graph without its pairs; changed in place.
        pairs: tensor -> the quantizers that were on it.

    Returns:
        The tensors that a reinserted activation makes.
    """
    flow = Flow(graph)
    from_zero = {name for name, on in pairs.items() if all(_starts_at_zero(q) for q in on)}
    safe = {name for name in from_zero if flow.producer(name) is None}
    reinserted = []
    for node in flow.nodes:
        for tensor in node.outputs:
            if _never_negative(flow, node, safe):
                safe.add(tensor.name)
            elif tensor.name in from_zero:
                safe.add(tensor.name)
                reinserted.append(tensor.name)
                _insert(graph, node, tensor, pairs[tensor.name])
    return tuple(reinserted)


def _starts_at_zero(quantizer: Quantizer) -> bool:
    zero = quantizer.zero
    return zero.dtype.kind in "iu" and bool((zero == np.iinfo(zero.dtype).min).all())


def _never_negative(flow: Flow, node: gs.Node, safe: set[str]) -> bool:
    op = kind(node)
    if op == "Clip":
        low = flow.constants.value(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1].name else None
        least = node.attrs.get("min") if low is None else float(low)
        return least is not None and least >= 0
    if op in _NEVER_NEGATIVE:
        return True
    read = list(flow.data_inputs(node) or (node.inputs if op in _AS_ALL_INPUTS else ()))
    if op in _AS_FIRST_INPUT:
        # Pad's third input is the value it pads with.
        read = [node.inputs[0], *(tensor for tensor in node.inputs[2:3] if op == "Pad" and tensor.name)]
    return bool(read) and all(tensor.name in safe or _no_negative_constant(flow, tensor) for tensor in read)


def _no_negative_constant(flow: Flow, tensor: gs.Tensor) -> bool:
    value = flow.constants.value(tensor)
    return value is not None and bool((value >= 0).all())


def _insert(graph: gs.Graph, node: gs.Node, tensor: gs.Tensor, quantizers: tuple[Quantizer, ...]) -> None:
    import onnx_graphsurgeon as gs

    name = tensor.name
    before = gs.Variable(f"{name}_before_activation", dtype=tensor.dtype, shape=tensor.shape)
    node.outputs[next(i for i, each in enumerate(node.outputs) if each is tensor)] = before
    top, step = quantizers[0].threshold(), float(quantizers[0].scale.max())
    inputs: list[gs.Tensor] = [before]
    attributes: dict[str, float] = {}
    op = "Relu"
    if abs(top - _RELU6) <= step / 2:
        op = "Clip"
        dtype = numpy_type(tensor) or np.dtype(np.float32)
        if graph.opset < 11:
            attributes = {"min": 0.0, "max": _RELU6}
        else:
            bounds = {"min": 0.0, "max": _RELU6}
            inputs += [gs.Constant(f"{name}_{end}", np.array(value, dtype)) for end, value in bounds.items()]
    activation = gs.Node(op, name=f"{name}_{op}", attrs=attributes, inputs=inputs, outputs=[tensor])
    graph.nodes.insert(next(i for i, each in enumerate(graph.nodes) if each is node) + 1, activation)
