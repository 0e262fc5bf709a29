"""Numbers the channels of a graph, node by node.

The walk goes through the nodes in running order. A layer's output channels get new numbers, since its weights can give
them any factor. Ops that pass on values pass on the numbers. An Add ties the numbers of what it adds. An op under which
a factor would not come out as a factor pins what it reads: the factor of those channels is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.ops import READ_NO_VALUES
from onnx_trtcal.graph.view import captured, kind, link, numpy_type
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.improve.equalize.channels import Channels
from onnx_trtcal.improve.equalize.joins import JOINS
from onnx_trtcal.improve.equalize.moves import MOVES
from onnx_trtcal.improve.equalize.roles import Affine, Inserted, Reader, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_graphsurgeon as gs

__all__ = ["number_channels"]

Shape = tuple[int | str | None, ...]

# Activations behind which a per-channel Mul joins the kernel: NVIDIA's compiler fuses it into the epilogue.
_ACTIVATIONS = frozenset(
    {
        *(
            "Celu",
            "Clip",
            "Elu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Mish",
            "Mul",
            "Selu",
            "Sigmoid",
            "Softplus",
        ),
        *("Swish", "Tanh", "com.microsoft:Gelu", "com.microsoft:QuickGelu"),
    }
)
# Normalizations that end in a scale and a bias for each channel: where those stand, and along which axis.
_NORMALIZATIONS: Mapping[str, tuple[tuple[int, ...], int | None]] = {
    "BatchNormalization": ((1, 2), 1),
    "InstanceNormalization": ((1, 2), 1),
    "LayerNormalization": ((1, 2), None),
}


def number_channels(graph: gs.Graph, shapes: Mapping[str, Shape | None], *, insert: bool) -> Channels:
    """Numbers the channels of a folded graph.

    Args:
        graph: topologically sorted; not changed.
        shapes: tensor -> shape, as far as it is known.
        insert: whether a per-channel Mul may be put behind an activation.
    """
    found = Channels(graph, shapes, insert=insert)
    for node in link(graph).nodes:
        if node.outputs and not all(found.is_constant(tensor) for tensor in node.outputs if tensor.name):
            _number(found, node)
        for name in captured(node):
            _pin_name(found, name)
    for tensor in graph.outputs:
        found.pin(tensor)
    return found


def _pin_name(found: Channels, name: str) -> None:
    numbers = found.ids.get(name)
    if numbers is not None:
        found.pin(found.graph.tensors()[name])


def _number(found: Channels, node: gs.Node) -> None:
    op = kind(node)
    if op in READ_NO_VALUES:
        return
    rule = _RULES.get(op)
    if rule is not None and rule(found, node):
        return
    _barrier(found, node)


def _barrier(found: Channels, node: gs.Node) -> None:
    """An op that channel factors do not pass: what it reads is pinned, what it makes begins anew."""
    for tensor in node.inputs:
        found.pin(tensor)
    data = [found.of(tensor) for tensor in node.inputs if not found.is_constant(tensor) and tensor.name]
    output = node.outputs[0]
    if (
        kind(node) not in _ACTIVATIONS
        or not found.insert
        or any(numbers is None for numbers in data)
        or not data
    ):
        return
    dtype = numpy_type(output)
    if dtype is None or dtype.kind not in "fV":
        return
    try:
        layout = np.broadcast_shapes(*(numbers.shape for numbers in data if numbers is not None))
    except ValueError:
        return
    if sum(size > 1 for size in layout) != 1:
        return
    numbers = found.fresh(layout)
    found.ids[output.name] = numbers
    found.makers.append(Inserted(output.name, numbers))


def _move(found: Channels, node: gs.Node) -> bool:
    """An op that passes on its first input."""
    numbers = found.of(node.inputs[0])
    if numbers is None:
        return False
    passed = MOVES[kind(node)](node, numbers, found.around)
    if passed is None:
        return False
    for tensor in node.inputs[1:]:
        found.pin(tensor)
    found.ids[node.outputs[0].name] = passed
    return True


def _cast(found: Channels, node: gs.Node) -> bool:
    numbers = found.of(node.inputs[0])
    dtype = numpy_type(node.outputs[0])
    if numbers is None or dtype is None or dtype.kind not in "fV":
        return False
    found.ids[node.outputs[0].name] = numbers
    return True


def _layer(found: Channels, node: gs.Node) -> bool:
    """A layer reads any factors and makes any, as far as its weights are constant."""
    op = WEIGHTED[kind(node)]
    constant = [slot for slot in op.weight_inputs if found.is_constant(node.inputs[slot])]
    if len(constant) != 1 or (op.obsolete_attribute and op.obsolete_attribute in node.attrs):
        return False
    (slot,) = constant
    weight = found.around.constants.value(node.inputs[slot])
    if weight is None or weight.ndim < 2 or not _is_float(weight):
        return False
    _read(found, node, slot, weight)
    bias = None if op.bias_input is None or len(node.inputs) <= op.bias_input else node.inputs[op.bias_input]
    if bias is not None and bias.name and found.around.constants.value(bias) is None:
        found.pin(bias)
        return True
    _, channels = op.channels(node.attrs, slot, weight.shape)
    shape = found.around.shape(node.outputs[0])
    rank = op.output_rank(weight.ndim, None if shape is None else len(shape))
    (axis,) = op.output_axes(slot, weight.ndim)
    if rank is None or rank < -axis:
        return True
    layout = [1] * rank
    layout[axis] = channels
    numbers = found.fresh(tuple(layout))
    found.ids[node.outputs[0].name] = numbers
    found.makers.append(Writer(node, slot, numbers.reshape(-1)))
    return True


def _read(found: Channels, node: gs.Node, slot: int, weight: np.ndarray) -> None:
    op = WEIGHTED[kind(node)]
    data = node.inputs[1 - slot]
    numbers = found.of(data)
    if numbers is None:
        return
    channels, _ = op.channels(node.attrs, slot, weight.shape)
    axis = 1 - numbers.ndim if op.convolution else -1 if slot == 1 else -2
    if node.attrs.get("transA", 0) and not op.convolution:
        axis = -2
    along = numbers.shape[axis] if numbers.ndim >= -axis else 0
    if along not in (1, channels) or numbers.size != along:
        found.pin(data)
        return
    found.readers.append(Reader(node, slot, axis, np.broadcast_to(numbers.reshape(-1), channels).copy()))


def _normalization(found: Channels, node: gs.Node) -> bool:
    """A normalization pins what it reads; its scale and bias make any factors."""
    at, axis = _NORMALIZATIONS[kind(node)]
    found.pin(node.inputs[0])
    at = tuple(index for index in at if index < len(node.inputs) and node.inputs[index].name)
    shape = found.around.shape(node.outputs[0])
    values = [found.around.constants.value(node.inputs[index]) for index in at]
    if shape is None or not values or any(value is None or value.ndim != 1 for value in values):
        return True
    if node.attrs.get("training_mode", 0) or any(tensor.outputs for tensor in node.outputs[1:]):
        return True
    last = len(shape) - 1
    if axis is None and int(node.attrs.get("axis", -1)) not in (-1, last):
        return True
    layout = [1] * len(shape)
    layout[last if axis is None else axis] = max(value.size for value in values if value is not None)
    numbers = found.fresh(tuple(layout))
    found.ids[node.outputs[0].name] = numbers
    found.makers.append(Affine(node, at, numbers.reshape(-1)))
    return True


def _prelu(found: Channels, node: gs.Node) -> bool:
    return found.is_constant(node.inputs[1]) and _pass(found, node)


def _pass(found: Channels, node: gs.Node) -> bool:
    numbers = found.of(node.inputs[0])
    if numbers is None:
        return False
    found.ids[node.outputs[0].name] = numbers
    return True


def _is_float(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" or values.dtype.name == "bfloat16"


_RULES: Mapping[str, Callable[[Channels, gs.Node], bool]] = {
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(WEIGHTED, _layer),
    **dict.fromkeys(_NORMALIZATIONS, _normalization),
    **JOINS,
    "Cast": _cast,
    "PRelu": _prelu,
}
