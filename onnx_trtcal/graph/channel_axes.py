"""Which axis of a tensor counts the channels of the layers that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.moved_axes import moved_axis
from onnx_trtcal.graph.ops import ACTIVATIONS, POINTWISE
from onnx_trtcal.graph.view import kind, link
from onnx_trtcal.graph.weighted import WEIGHTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.axis_sources import Dims
    from onnx_trtcal.graph.moved_axes import MovedAxis

__all__ = ["DEEPEST", "DISTRIBUTIONS", "PER_VALUE", "ChannelAxes"]

DISTRIBUTIONS = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
# What these make of a channel has its place; how large it is depends on that channel alone.
PER_VALUE = (POINTWISE | ACTIVATIONS.keys() | {"BatchNormalization", "Where", "Round", "Not"}) - DISTRIBUTIONS
# These keep the axes of input 0 apart, whatever they do to values.
_KEEPS_CHANNELS = DISTRIBUTIONS | {
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool", "Pad", "Resize", "Upsample"),
    *("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization", "LRN"),
    *("MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
}
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
# A longer chain of pointwise ops and moves than any head has.
DEEPEST = 120


class ChannelAxes:
    """Answers for one graph, each given once.

    Args:
        graph: a float graph; not changed.
        shape_of: tensor -> its shape; None where the rank is not known.

    Attributes:
        links: the graph, seen through its names.
        constants: the values of its constants.
        shape: as `shape_of`.
    """

    def __init__(self, graph: gs.Graph, shape_of: Callable[[str], Dims | None]) -> None:
        self.links = link(graph)
        self.constants = Constants(graph)
        self.shape = shape_of
        self._softmax_axis = 1 if graph.opset < 13 else -1
        self._known: dict[tuple[str, int], bool | None] = {}

    def is_channel(self, tensor: str, axis: int, depth: int = 0) -> bool | None:
        """Whether an axis counts the channels of the layers before it; None where no layer tells."""
        key = (tensor, axis)
        if key not in self._known:
            self._known[key] = None  # for a walk that comes by again
            node = self.links.maker(tensor)
            if node is not None and depth < DEEPEST and tensor not in self.links.constants:
                self._known[key] = self._ask(node, tensor, axis, depth + 1)
        return self._known[key]

    def _ask(self, node: gs.Node, tensor: str, axis: int, depth: int) -> bool | None:
        op = kind(node)
        rank = len(self.shape(tensor) or ())
        if op == "MatMul" and node.inputs[1].name not in self.links.constants:
            last = axis == rank - 1
            return self._aligned(node.inputs[1 if last else 0].name, axis, rank, depth)
        if op in WEIGHTED:
            return axis == (rank - 1 if op in ("MatMul", "Gemm") else 1)
        if op in _RECURRENT:
            return axis == rank - 1
        if op == "Concat":
            return _any(self.is_channel(t.name, axis, depth) for t in node.inputs)
        if op in PER_VALUE:
            return _any(self.is_channel(*each, depth) for each in self.operands(node, tensor, axis))
        if op in _KEEPS_CHANNELS:
            return self.is_channel(node.inputs[0].name, axis, depth)
        if op.startswith("Reduce"):
            return self._reduced(node, axis, depth)
        moved = self.moved(node, tensor, axis)
        if moved is None:
            return None
        found = [self.is_channel(node.inputs[0].name, each, depth) for each in moved.axes]
        if len(found) == 1:
            return found[0]
        # Axes merged into one are positions where each of them is.
        return False if found and all(each is False for each in found) else None

    def _reduced(self, node: gs.Node, axis: int, depth: int) -> bool | None:
        source = node.inputs[0].name
        shape = self.shape(source)
        given = node.attrs.get("axes")
        if given is None and len(node.inputs) > 1:
            given = self.constants.value(node.inputs[1])
        if shape is None or given is None:
            return None
        gone = {int(each) % len(shape) for each in given}
        if node.attrs.get("keepdims", 1):
            return self.is_channel(source, axis, depth)
        left = [at for at in range(len(shape)) if at not in gone]
        return self.is_channel(source, left[axis], depth) if axis < len(left) else None

    def _aligned(self, name: str, axis: int, rank: int, depth: int) -> bool | None:
        shape = self.shape(name)
        at = axis - rank + len(shape) if shape is not None else -1
        return self.is_channel(name, at, depth) if at >= 0 else None

    def operands(self, node: gs.Node, tensor: str, axis: int) -> list[tuple[str, int]]:
        """The inputs of a pointwise op that hold the axis in full, and where."""
        size, rank = self.size(tensor, axis), len(self.shape(tensor) or ())
        found = []
        wanted: Sequence[gs.Tensor] = node.inputs[1:] if kind(node) == "Where" else node.inputs
        for each in wanted:
            shape = self.shape(each.name)
            if each.name in self.links.constants or shape is None:
                continue
            at = axis - rank + len(shape)
            if at >= 0 and (shape[at] != 1 or size == 1):
                found.append((each.name, at))
        return found

    def distribution_axis(self, node: gs.Node, tensor: str) -> int:
        """The axis along which a Softmax or the like adds up to 1."""
        given: int = node.attrs.get("axis", self._softmax_axis)
        return given % max(len(self.shape(tensor) or ()), 1)

    def moved(self, node: gs.Node, tensor: str, axis: int) -> MovedAxis | None:
        """See `moved_axis`."""
        return moved_axis(node, tensor, axis, self.shape, self.constants)

    def size(self, tensor: str, axis: int) -> int | None:
        """The length of an axis, where it is a number."""
        shape = self.shape(tensor)
        size = shape[axis] if shape is not None and axis < len(shape) else None
        return size if isinstance(size, int) else None


def _any(answers: Iterable[bool | None]) -> bool | None:
    """True if one says so; False if one says no and none yes."""
    found = None
    for answer in answers:
        if answer:
            return True
        found = answer if found is None else found
    return found
