"""Carries scales from tensors that had a pair to the others that a cache has to name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.fuse import Group

__all__ = ["carry_scales"]

# Their output is nowhere larger than their input, so the input's scale covers it.
_SHRINK = frozenset({"Clip", "LeakyRelu", "Relu"})


def carry_scales(
    graph: gs.Graph, groups: Sequence[Group], found: Mapping[str, float]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """All scales that follow from some of them.

    The input and the output of an op that moves values (or of MaxPool, or Cast) have one scale; tensors that
    vanish inside a kernel take that of its output; behind Relu, Clip and LeakyRelu the input's scale will do;
    Concat's branches take the scale of its output, whose Q moves up to them. A scale that was found stays.

    Returns:
        The scales in graph order, and the float tensors that have none (constants need none).
    """
    flow = Flow(graph)
    types = {name: tensor.dtype for name, tensor in graph.tensors().items()}
    floats = dict.fromkeys(
        name for name in flow.tensors if flow.is_activation(name) and _is_float(types.get(name))
    )
    scales = dict(found)
    before = -1
    while before != len(scales):
        before = len(scales)
        for node in flow.nodes:
            _carry_down(flow, node, scales)
        for node in reversed(flow.nodes):
            _carry_up(flow, node, scales)
        for group in groups:
            if group.output in scales:
                for name in group.inner:
                    scales.setdefault(name, scales[group.output])
    return (
        {name: scales[name] for name in flow.tensors if name in found or (name in scales and name in floats)},
        tuple(name for name in floats if name not in scales),
    )


def _carry_down(flow: Flow, node: gs.Node, scales: dict[str, float]) -> None:
    if not node.inputs or node.inputs[0].name not in scales:
        return
    if flow.is_tied(node) or node.op == "Cast" or node.op in _SHRINK:
        scales.setdefault(node.outputs[0].name, scales[node.inputs[0].name])


def _carry_up(flow: Flow, node: gs.Node, scales: dict[str, float]) -> None:
    if node.outputs[0].name not in scales:
        return
    if flow.is_tied(node) or node.op in ("Cast", "Concat"):
        for tensor in flow.data_inputs(node) or node.inputs:
            if flow.is_activation(tensor.name):
                scales.setdefault(tensor.name, scales[node.outputs[0].name])


def _is_float(dtype: object) -> bool:
    if dtype is None:
        return False
    try:
        return np.dtype(dtype).kind == "f"  # type: ignore[call-overload]
    except TypeError:
        return False
