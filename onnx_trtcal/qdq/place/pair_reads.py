"""Which inputs read a tensor's Q/DQ pair, while placement is still being decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.graph.ops import AVERAGES, READ_NO_VALUES
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.place.placement import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.flow import Flow

__all__ = ["PairReads"]


class PairReads:
    """The pairs decided so far, and what follows from them for the tensors between INT8 layers.

    Args:
        flow: the graph.

    Attributes:
        reads: tensor with a pair -> the inputs that read it through the pair.
        int8_outputs: tensors written by layers and ops that run in INT8.
        lifted: first output of an op that now reads a pair on behalf of others -> their reads.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.reads: dict[str, list[Read]] = {}
        self.int8_outputs: set[str] = set()
        self.lifted: dict[str, tuple[Read, ...]] = {}

    def add(self, tensor: str, node: str, index: int) -> None:
        """Lets one input of a node read a tensor through the tensor's pair."""
        self.reads.setdefault(tensor, []).append(Read(node, index))

    def remove(self, tensor: str, node: str, index: int) -> None:
        """Takes back what `add` did."""
        self.reads[tensor].remove(Read(node, index))
        if not self.reads[tensor]:
            del self.reads[tensor]

    def is_read_as_int8(self, tensor: str) -> bool:
        """Whether all readers of a tensor, past any ops that commute with Q, read it through a pair."""
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            consumers, pair = self._readers(name), set(self.reads.get(name, ()))
            if self.flow.is_output(name) or not consumers:
                return False
            for node, index in consumers:
                if Read(node.outputs[0].name, index) in pair:
                    continue
                if not 0 <= index < len(self.flow.data_inputs(node)):
                    return False
                following = {out.name for out in node.outputs if out.name} - seen
                seen |= following
                pending += sorted(following)
        return True

    def comes_as_int8(self, tensor: str) -> bool:
        """Whether a tensor has a pair already or comes, past any commuting ops, from INT8 layers."""
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            if name in self.reads or name in self.int8_outputs:
                continue
            producer = self.flow.producer(name)
            above = () if producer is None else self.flow.data_inputs(producer)
            if not above:
                return False
            following = {each.name for each in above} - seen
            seen |= following
            pending += sorted(following)
        return True

    def lift_through_moves(
        self, stays_float: Callable[[gs.Node], bool], has_scale: Callable[[str], bool]
    ) -> None:
        """Keeps one pair for a tensor and what only moves its values, if nothing in between is read in float.

        With `a` read by one Conv and MaxPool(a) by another, both read the pair on `a`. Where the MaxPool has to
        stay in floating point, its output keeps a pair of its own instead. A pair behind what reshapes the output of
        an INT8 average pool moves up to the pool: NVIDIA's compiler pools in INT8 only where Q follows at once.

        Args:
            stays_float: whether a node was excluded from quantization.
            has_scale: whether a tensor can have a pair.
        """
        for name in [tensor for tensor in self.flow.tensors if tensor in self.reads]:
            chain = self.flow.moves_above(name)
            above = (node.inputs[0].name for node in chain)
            at = next(
                (
                    i
                    for i, up in enumerate(above)
                    if up in self.reads or (self._is_pooled(up) and has_scale(up))
                ),
                None,
            )
            if at is None:
                continue
            pair = set(self.reads[name])
            between = [node.outputs[0].name for node in chain[: at + 1]]
            if (
                all(Read(node.outputs[0].name, index) in pair for node, index in self._readers(name))
                and all(len(self._readers(each)) == 1 for each in between[1:])
                and not any(self.flow.is_output(each) for each in between)
                and not any(stays_float(node) for node in chain[: at + 1])
            ):
                self.lifted[between[at]] = tuple(self.reads.pop(name))
                self.add(chain[at].inputs[0].name, between[at], 0)

    def _is_pooled(self, tensor: str) -> bool:
        """Whether an average pool that runs in INT8 writes a tensor."""
        maker = self.flow.producer(tensor)
        return tensor in self.int8_outputs and maker is not None and kind(maker) in AVERAGES

    def raw_readers(self, tensor: str) -> list[tuple[gs.Node, int]]:
        """The inputs that read a tensor's values, and not through its pair."""
        pair = set(self.reads.get(tensor, ()))
        return [
            (node, index)
            for node, index in self._readers(tensor)
            if Read(node.outputs[0].name, index) not in pair
        ]

    def _readers(self, tensor: str) -> list[tuple[gs.Node, int]]:
        """The nodes that read a tensor's values, not just its shape."""
        return [each for each in self.flow.consumers(tensor) if kind(each[0]) not in READ_NO_VALUES]
