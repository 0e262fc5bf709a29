"""The weighted layers of a graph as `easyquant` sees them: what they read, and their INT8 weights in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.qdq.place.placement import Read
from onnx_trtcal.qdq.weight_scales import quantize_weight, weight_scales

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.qdq.place.placement import Placement

__all__ = ["Layer", "Weights", "layers_of"]


@dataclass(frozen=True)
class Weights:
    """A constant operand: as it is, and from INT8 back in float, in the same dtype."""

    exact: np.ndarray
    quantized: np.ndarray


@dataclass(frozen=True, eq=False)
class Layer:
    """One Conv, ConvTranspose, Gemm or MatMul.

    Attributes:
        name: its first output.
        activations: tensors that depend on a sample and are read in INT8 -> where it reads them.
        constants: constant operands -> (where it reads them, axis of the channels).
        node: the node.
        values: of the graph's constants.
    """

    name: str
    activations: Mapping[str, tuple[Read, ...]]
    constants: Mapping[str, tuple[Read, int | None]]
    node: gs.Node
    values: Constants

    def weights(self) -> dict[str, Weights]:
        """The constant operands, with a scale of max|w| / 127 per output channel: made anew by each call."""
        found = {}
        for name, (read, axis) in self.constants.items():
            values = np.asarray(self.values.value(self.node.inputs[read.index]))
            scales = weight_scales(values, axis, name).scales
            shape = [1] * values.ndim
            if axis is not None:
                shape[axis] = scales.size
            steps = quantize_weight(values, scales, axis).astype(np.float32)
            found[name] = Weights(values, (steps * scales.reshape(shape)).astype(values.dtype))
        return found


def layers_of(graph: gs.Graph, placement: Placement) -> list[Layer]:
    """The layers that `placement` quantizes, in graph order."""
    constant = {weight.read: weight for weight in placement.weights}
    wanted = frozenset(placement.quantized)
    values = Constants(graph)
    found = []
    for node in graph.nodes:
        name = node.outputs[0].name if node.outputs else ""
        if name not in wanted:
            continue
        activations: dict[str, tuple[Read, ...]] = {}
        constants = {}
        for index, tensor in enumerate(node.inputs[:2]):
            read = Read(name, index)
            if read in constant:
                constants[tensor.name] = (read, constant[read].axis)
            else:
                activations[tensor.name] = (*activations.get(tensor.name, ()), read)
        found.append(Layer(name, activations, constants, node, values))
    return found
