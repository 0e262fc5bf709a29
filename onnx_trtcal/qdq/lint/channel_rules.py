"""The rules for several scales in one Q or DQ node: weights only, along output channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import KEEPS_AXES
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.lint.faults import Fault, limited, not_int8, refused
from onnx_trtcal.qdq.lint.readers import layers_behind
from onnx_trtcal.qdq.place.layer_rules import is_layer, weight_axis
from onnx_trtcal.qdq.read.quantizer import Quantizer, is_dequantizer, is_quantizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["per_channel_faults", "weight_shape"]


def per_channel_faults(node: gs.Node, quantizer: Quantizer, constants: Constants) -> Iterator[Fault]:
    """The faults of a Q or DQ with several scales."""
    shape, axis, count = weight_shape(node, constants), quantizer.axis, quantizer.scale.size
    if shape is None:
        yield not_int8(
            "per-channel-activation",
            f"it has {count} scales on an activation; only weights may have several",
        )
        return
    if int(node.attrs.get("block_size", 0)):
        yield from _blocked(node, axis, len(shape))
        return
    if "axis" not in node.attrs:
        yield limited(
            "axis-missing",
            "it has no axis: ONNX then takes axis 1, parsers before TensorRT 11 took axis 0",
            "the scales run along one axis or another, depending on the version",
        )
    if not -len(shape) <= axis < len(shape):
        yield refused("axis", f"axis {axis} does not exist in a weight of {len(shape)} dimensions")
    elif shape[axis] != count:
        yield refused(
            "axis", f"it has {count} scales, but axis {axis} of its weight has {shape[axis]} slices"
        )
    else:
        yield from _channels(node, axis % len(shape), len(shape))


def weight_shape(node: gs.Node, constants: Constants) -> tuple[int, ...] | None:
    """The shape of the weight a Q or DQ works on; None when it works on an activation."""
    tensor = node.inputs[0]
    while len(tensor.inputs) == 1 and is_quantizer(tensor.inputs[0]) and tensor.inputs[0].inputs:
        tensor = tensor.inputs[0].inputs[0]
    return constants.shape(tensor)


def _blocked(node: gs.Node, axis: int, rank: int) -> Iterator[Fault]:
    """Scales for blocks of a weight run along its last two axes, and no convolution multiplies in INT8 with them."""
    if axis % rank < rank - 2:
        yield refused(
            "blocked-scales", f"its blocks run along axis {axis}; only the last two axes may have some"
        )
        return
    reader = next((each for each in layers_behind(node) if each.op in ("Conv", "ConvTranspose")), None)
    if reader is not None:
        label = reader.name or reader.outputs[0].name
        yield not_int8("blocked-scales", f"{reader.op} {label!r} reads a weight with a scale for every block")


def _channels(node: gs.Node, axis: int, rank: int) -> Iterator[Fault]:
    """Whether the scales run along the output channels of every layer that reads the weight."""
    pending = [(tensor, axis) for tensor in node.outputs]
    while pending:
        tensor, at = pending.pop()
        for reader in tensor.outputs:
            index = next(i for i, each in enumerate(reader.inputs) if each is tensor)
            if is_layer(reader) and index < 2:
                wanted = weight_axis(reader, index, rank)
                if wanted not in (None, at):
                    label = reader.name or reader.outputs[0].name
                    what = f"its scales are along axis {at} of the weight that {reader.op} {label!r} reads"
                    yield not_int8("channel-axis", f"{what}, whose output channels are axis {wanted}")
            elif is_quantizer(reader) or is_dequantizer(reader) or kind(reader) in KEEPS_AXES:
                pending += [(each, at) for each in reader.outputs]
            elif kind(reader) == "Transpose":
                order = list(reader.attrs.get("perm", range(rank)[::-1]))
                pending += [(each, order.index(at)) for each in reader.outputs]
