"""Gives out the activations of ONNX Runtime's optimised model as they lie in its memory, in blocks of channels.

On a CPU with wide vectors, ONNX Runtime computes convolutions on tensors of layout NCHWc: N, C / block, H, W, block. An
output of the model has to be N, C, H, W, so every tensor that is observed costs a copy, a ReorderOutput. A histogram
does not ask for the order of values: here the input of that node becomes the output in its place.

Where the number of channels is not a multiple of the block, the last block is filled up with channels that hold
anything. They are told apart by the block, which the model does not state: what its convolutions are padded to tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from onnx_trtcal.graph.model.nodes import graphs_of
from onnx_trtcal.graph.model.refill import refill
from onnx_trtcal.support.channel_blocks import ChannelBlocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["BlockedOutputs", "Origin", "expose_blocks"]

_DOMAIN = "com.microsoft.nchwc"
# ONNX Runtime has blocks of 8 and 16; a block that is not told from these is not taken for one of them.
_BLOCKS = (2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Origin:
    """Where the values of an output are to be found now.

    Attributes:
        place: number of the rewritten model's output that holds them.
        channels: how many channels there are, where others fill up the last block; 0 where all of it is to be read.
        block: channels in a block; 0 like `channels`.
    """

    place: int
    channels: int = 0
    block: int = 0

    def values(self, array: np.ndarray) -> np.ndarray | ChannelBlocks:
        """The values of the output, without channels that only fill up the last block.

        Args:
            array: what the session gives at `place`, [N, C, spatial axes] by its shape.
        """
        if not self.channels:
            return array
        rows, filled, *spatial = array.shape
        return ChannelBlocks(array.reshape(rows, filled // self.block, *spatial, self.block), self.channels)


@dataclass(frozen=True)
class BlockedOutputs:
    """A model some of whose outputs are in blocks of channels.

    Attributes:
        model: it computes what the given one does, without the copies that nobody reads any more.
        origins: for each output of the given model, in its order, where its values are.
    """

    model: onnx.ModelProto
    origins: tuple[Origin, ...]


def expose_blocks(model: onnx.ModelProto) -> BlockedOutputs | None:
    """Rewrites a model as ONNX Runtime has optimised it; weights are not looked at, only their shapes.

    Args:
        model: changed in place.

    Returns:
        None where no output can be had without a copy; the model is unchanged then.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    blocks = _possible_blocks(graph)
    given = {output.name: output for output in graph.output}
    places: dict[str, int] = {}
    origins = []
    for name in given:
        source, channels, block = _source(name, makers.get(name), blocks)
        origins.append(Origin(places.setdefault(source, len(places)), channels, block))
    if places.keys() <= given.keys():
        return None
    refill(graph.output, [given.get(name) or onnx.ValueInfoProto(name=name) for name in places])
    _drop_unread_reorders(graph)
    return BlockedOutputs(model, tuple(origins))


def _source(name: str, maker: onnx.NodeProto | None, blocks: Sequence[int]) -> tuple[str, int, int]:
    """The tensor to read in place of an output; its channels and their block where others fill up the last one."""
    if maker is None or not _is_reorder(maker) or not blocks:
        return name, 0, 0
    channels = _channels(maker)
    if not any(channels % block for block in blocks):
        return maker.input[0], 0, 0
    # Where several blocks are possible, it is not known which channels only fill up.
    return (maker.input[0], channels, blocks[0]) if len(blocks) == 1 else (name, 0, 0)


def _is_reorder(node: onnx.NodeProto) -> bool:
    return node.op_type == "ReorderOutput" and node.domain == _DOMAIN and _channels(node) > 0


def _channels(node: onnx.NodeProto) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "channels"), 0)


def _possible_blocks(graph: onnx.GraphProto) -> tuple[int, ...]:
    """The sizes of a block that agree with what the convolutions' channels are filled up to."""
    weights = {weight.name: weight.dims for weight in graph.initializer}
    filled = {
        node.output[0]: int(weights[node.input[1]][0])
        for node in graph.node
        if node.op_type == "Conv" and node.domain == _DOMAIN and weights.get(node.input[1])
    }
    pairs = [
        (_channels(node), filled[node.input[0]])
        for node in graph.node
        if _is_reorder(node) and node.input[0] in filled
    ]
    return tuple(
        block
        for block in _BLOCKS
        if all(size % block == 0 for size in filled.values())
        and all(-(-channels // block) * block == size for channels, size in pairs)
    )


def _drop_unread_reorders(graph: onnx.GraphProto) -> None:
    read = {name for each in graphs_of(graph) for node in each.node for name in node.input}
    read.update(output.name for each in graphs_of(graph) for output in each.output)
    refill(graph.node, [node for node in graph.node if not _is_reorder(node) or node.output[0] in read])
