"""The layers whose weights are rounded, as both graphs have them: in floating point, and quantized."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.view import kind, numpy_type
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.search.layer_rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group
    from onnx_trtcal.qdq.place.placement import Placement, Weight
    from onnx_trtcal.search.layer_rows import Rows

__all__ = ["BiasPlace", "RoundedLayer", "rounded_layers"]

_ADDS = ("Add", "Sum")


@dataclass(frozen=True)
class BiasPlace:
    """Where a shift of each output channel goes without another op.

    Attributes:
        node: first output of the node that reads the bias.
        index: the input that holds it; an absent one is filled.
        value: the bias there is, or zeros.
        factor: what the node multiplies it by.
        axes: number of axes of the bias that a shift of every channel has behind the channel axis; None for a
            vector.
    """

    node: str
    index: int
    value: np.ndarray
    factor: float
    axes: int | None

    def shifted(self, shift: np.ndarray) -> np.ndarray:
        """The bias with a shift, float64[channels], in its own type and shape."""
        along = shift / self.factor
        if self.axes is not None:
            along = along.reshape(-1, *[1] * self.axes)
        return (self.value.astype(np.float64) + along).astype(self.value.dtype)


@dataclass(frozen=True)
class RoundedLayer:
    """A layer with constant weights, and what runs in one kernel with it.

    Attributes:
        name: its first output.
        weight: where the weight is read, its name and channel axis.
        values: the weight in floating point.
        activation_slot: the input that is read in INT8.
        rows: how it is rows times a matrix; None where its weights stay as they are.
        linear: first outputs of the nodes from the layer to the tensor that the activation reads.
        before_activation: that tensor.
        activation: first outputs of the nodes of the activation, which may be none.
        output: what the activation makes.
        channel_axis: of the output, counted from the end.
        bias: where a shift goes; None for nowhere.
    """

    name: str
    weight: Weight
    values: np.ndarray
    activation_slot: int
    rows: Rows | None
    linear: tuple[str, ...]
    before_activation: str
    activation: tuple[str, ...]
    output: str
    channel_axis: int
    bias: BiasPlace | None

    @property
    def nodes(self) -> tuple[str, ...]:
        """First outputs of all its nodes, in running order."""
        return (*self.linear, *self.activation)


def rounded_layers(graph: gs.Graph, groups: Iterable[Group], placement: Placement) -> list[RoundedLayer]:
    """The quantized layers with weights of their own, in graph order.

    A weight that several layers read is left alone: what suits one of them need not suit the others.

    Args:
        graph: the folded graph.
        groups: its fused groups.
        placement: what is quantized.
    """
    nodes = {node.outputs[0].name: node for node in graph.nodes if node.outputs}
    constants = Constants(graph)
    by_anchor = {group.anchor: group for group in groups}
    uses = Counter((weight.tensor, weight.axis) for weight in placement.weights)
    found = []
    for weight in placement.weights:
        name = weight.read.node
        if uses[weight.tensor, weight.axis] > 1 or name not in placement.quantized:
            continue
        node = nodes[name]
        values = constants.value(node.inputs[weight.read.index])
        if values is None or values.dtype.kind != "f":
            continue
        group = by_anchor.get(name)
        members = [nodes[each] for each in group.nodes] if group else [node]
        linear, before = _linear_part(members, name)
        # A BatchNormalization that was not folded multiplies what is added before it.
        scaled = any(kind(each) == "BatchNormalization" for each in linear)
        axes = WEIGHTED[kind(node)].output_axes(weight.read.index, values.ndim)
        in_linear = {id(each) for each in linear}
        found.append(
            RoundedLayer(
                name=name,
                weight=weight,
                values=values,
                activation_slot=1 - weight.read.index,
                rows=None if weight.axis is None else rows_of(node, weight.read.index, values.shape),
                linear=tuple(each.outputs[0].name for each in linear),
                before_activation=before,
                activation=tuple(each.outputs[0].name for each in members if id(each) not in in_linear),
                output=group.output if group else name,
                channel_axis=axes[0],
                bias=None if scaled or weight.axis is None else _bias_place(node, linear, constants, weight),
            )
        )
    return found


def _linear_part(members: Sequence[gs.Node], name: str) -> tuple[list[gs.Node], str]:
    """The layer, and the nodes behind it that add to its result or normalize it; and the tensor they end in."""
    linear, end = [members[0]], name
    while True:
        readers = [each for each in members if any(tensor.name == end for tensor in each.inputs)]
        if len(readers) != 1 or kind(readers[0]) not in (*_ADDS, "BatchNormalization"):
            return linear, end
        linear.append(readers[0])
        end = readers[0].outputs[0].name


def _bias_place(
    node: gs.Node, linear: Sequence[gs.Node], constants: Constants, weight: Weight
) -> BiasPlace | None:
    """The layer's own bias, or the constant of an Add behind it."""
    op = WEIGHTED[kind(node)]
    channels = _channels(node, constants, weight)
    if op.bias_input is not None:
        factor = float(node.attrs.get(op.bias_factor, 1.0)) if op.bias_factor else 1.0
        if len(node.inputs) <= op.bias_input or not node.inputs[op.bias_input].name:
            none = np.zeros(channels, numpy_type(node.inputs[weight.read.index]) or np.float32)
            return BiasPlace(node.outputs[0].name, op.bias_input, none, factor, None) if factor else None
        value = constants.value(node.inputs[op.bias_input])
        if value is None or not factor or value.shape not in ((channels,), (1, channels)):
            return None
        return BiasPlace(node.outputs[0].name, op.bias_input, value, factor, None)
    axis = op.output_axes(weight.read.index, None)[0]
    for each in linear[1:]:
        for index, tensor in enumerate(each.inputs):
            value = constants.value(tensor)
            behind = -axis - 1
            if (
                value is not None
                and value.ndim >= -axis
                and value.shape[axis] == channels
                and value.size == channels
            ):
                return BiasPlace(each.outputs[0].name, index, value, 1.0, behind)
    return None


def _channels(node: gs.Node, constants: Constants, weight: Weight) -> int:
    shape = constants.shape(node.inputs[weight.read.index])
    assert shape is not None, "a weight is constant"
    return WEIGHTED[kind(node)].channels(node.attrs, weight.read.index, shape)[1]
