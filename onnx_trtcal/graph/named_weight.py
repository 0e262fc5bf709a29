"""A weight by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    import numpy as np
    import onnx_graphsurgeon as gs

__all__ = ["named_weight"]


def named_weight(graph: gs.Graph, name: str) -> tuple[np.ndarray, int] | None:
    """A constant that a weighted op multiplies by, and the axis that counts its output channels.

    Args:
        graph: where to look.
        name: of the constant.

    Returns:
        None where no weighted op reads a constant of that name, or where it has no channels.
    """
    constants = Constants(graph)
    for node in graph.nodes:
        op = WEIGHTED.get(kind(node))
        for slot in op.weight_inputs if op else ():
            if op and slot < len(node.inputs) and node.inputs[slot].name == name:
                values = constants.value(node.inputs[slot])
                axis = op.weight_axis(node.attrs, slot, values.ndim) if values is not None else None
                if values is not None and axis is not None:
                    return values, axis
    return None
