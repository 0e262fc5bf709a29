"""BatchNormalization, and its forms decomposed into arithmetic, folded into the weights before or after it.

    x ─ Conv(W, b) ─ c ─ BatchNormalization ─ y      becomes     x ─ Conv(s·W, s·b + t) ─ y

c vanishes and y stands for it; y keeps its name. Three shapes of the same rewrite:

  - Where the operator has no bias (MatMul), the shift goes into the Add behind it, which is made where there is none.
  - With a Reshape (Squeeze, Unsqueeze, Flatten) between the two, TensorRT runs them as kernels of their own,
    and each tensor on the way needs its own scale. The folded operators then stand beside the old ones,
    which stay to be measured and lead nowhere; `save_model` leaves such nodes out.
  - A BatchNormalization before a Conv that pads nothing goes into that Conv, and stays to be measured too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.fold.affine import Affine, arithmetic, batchnorm, data_input
from onnx_trtcal.graph.fold.chain import Chain, channel_axis, find_chain, read_once
from onnx_trtcal.graph.fold.linear import Linear, after, before, linear_of
from onnx_trtcal.graph.fold.rewrite import Fold, FoldReport, Rewriter, label
from onnx_trtcal.graph.view import is_standard

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_graphsurgeon as gs

__all__ = ["Fold", "FoldReport", "fold"]

_ARITHMETIC = ("Add", "Div", "Mul", "Sub")


def fold(graph: gs.Graph) -> FoldReport:
    """Folds every BatchNormalization, and every per-channel Add, Sub, Mul or Div, that can be without harm.

    Every tensor that remains keeps its values, up to rounding. Weights are computed in float64 and stored in
    their own type, as new constants: a weight that other nodes share stays as it is for them. What would
    give a weight that is not finite is left alone.

    Args:
        graph: an imported graph, its nodes in running order; it is changed in place.
    """
    folder = _Folder(graph)
    for node in list(graph.nodes):
        if not is_standard(node):
            continue
        if node.op == "BatchNormalization":
            folder.batchnorm(node)
        elif node.op in _ARITHMETIC:
            folder.arithmetic(node)
    return folder.rewriter.finish(folder.left)


class _Folder:
    """Decides what folds into what, and hands each fold to the rewriter."""

    def __init__(self, graph: gs.Graph) -> None:
        self.pinned = {
            tensor.name for part in (graph, *graph.subgraphs(recursive=True)) for tensor in part.outputs
        }
        self.main = {id(node) for node in graph.nodes}
        self.constants = Constants(graph)
        self.rewriter = Rewriter(graph)
        self.left: list[tuple[str, str]] = []

    def batchnorm(self, node: gs.Node) -> None:
        """Folds one BatchNormalization into what is before it, else into the Conv after it."""
        reason = self._into_previous(node)
        if reason:
            following = self._into_next(node, reason)
            if following:
                self.left.append((label(node), reason if following == reason else f"{reason}; {following}"))

    def arithmetic(self, node: gs.Node) -> None:
        """Folds one Add, Sub, Mul or Div of a constant per channel into the operator right before it."""
        side = data_input(node, self.constants)
        if side is None:
            return
        chain = find_chain(node.inputs[side], self.pinned, self.constants)
        if isinstance(chain, str) or chain.moves:
            return
        linear = chain.linear
        if (
            linear.op.bias_input is None
            and chain.add is None
            and (node.op == "Add" or (node.op, side) == ("Sub", 0))
        ):
            return  # This is the bias already.
        affine = arithmetic(node, linear.channels, linear.axis, linear.rank, self.constants)
        if affine is not None:
            self._apply(node, chain, affine)

    def _into_previous(self, node: gs.Node) -> str:
        chain = find_chain(node.inputs[0], self.pinned, self.constants)
        if isinstance(chain, str):
            return chain
        axis = channel_axis(chain)
        if axis is None:
            return f"the channels it normalises cannot be followed back to the {chain.linear.node.op}"
        if axis != chain.linear.axis:
            return f"it normalises another axis than the {chain.linear.node.op}'s output channels"
        affine = batchnorm(node, chain.linear.channels, self.constants)
        return affine if isinstance(affine, str) else self._apply(node, chain, affine)

    def _apply(self, node: gs.Node, chain: Chain, affine: Affine) -> str:
        changed = after(chain.linear, affine)
        if isinstance(changed, str):
            return changed
        weight, bias = changed
        if chain.addend is not None:
            along = (-1, *[1] * (-chain.linear.axis - 1))
            bias = chain.addend * affine.scale.reshape(along) + affine.shift.reshape(along)
            with np.errstate(over="ignore"):
                if not np.isfinite(bias.astype(weight.dtype).astype(np.float64)).all():
                    return f"folded weights would not be finite {weight.dtype.name} numbers"
        if chain.moves:
            self.rewriter.beside(node, chain, weight, bias)
        else:
            self.rewriter.instead(node, chain, weight, bias)
        return ""

    def _into_next(self, node: gs.Node, reason: str) -> str:
        """Folds a BatchNormalization into the Conv that alone reads it; the old node stays to be measured.

        Returns:
            Why not, which is `reason` where no such Conv follows; empty when it is folded.
        """
        output = node.outputs[0]
        if read_once(output, self.pinned) or id(output.outputs[0]) not in self.main:
            return reason
        target = output.outputs[0]
        if target.op != "Conv" or target.inputs[0] is not output:
            return reason
        linear = linear_of(target, self.constants)
        if not isinstance(linear, Linear):
            return reason
        channels, _ = linear.op.channels(target.attrs, linear.slot, linear.weight.shape)
        affine = batchnorm(node, channels, self.constants)
        if isinstance(affine, str):
            return affine
        if affine.shift.any() and _pads(target, linear.weight.shape[2:]):
            return "the Conv after it pads its input"
        changed = before(linear, affine)
        if isinstance(changed, str):
            return changed
        self.rewriter.into_next(node, linear, *changed)
        return ""


def _pads(node: gs.Node, kernel: Sequence[int]) -> bool:
    """Whether a Conv pads its input, as far as its attributes tell."""
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        return any(size != 1 for size in kernel)
    return mode != "VALID" and any(node.attrs.get("pads") or ())
