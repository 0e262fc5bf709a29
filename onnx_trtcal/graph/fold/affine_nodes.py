"""BatchNormalization, and its forms spelled out in arithmetic, folded into the weights before or after it.

    x ─ Conv(W, b) ─ c ─ BatchNormalization ─ y      becomes     x ─ Conv(s·W, s·b + t) ─ y

c vanishes and y answers for it; y keeps its name. Three shapes of the same rewrite:

  - A MatMul has no bias: the shift goes into the Add behind it, which is made where there is none.
  - With a Reshape (Squeeze, Unsqueeze, Flatten) between the two, TensorRT runs them as kernels of their own,
    and each tensor on the way needs its own scale. The folded operators then stand beside the old ones,
    which stay to be measured and lead nowhere; `save_model` leaves such nodes out.
  - A BatchNormalization before a Conv that pads nothing goes into that Conv, and stays to be measured too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnx_trtcal.graph.constants import Constants
from onnx_trtcal.graph.fold.affine import Affine, arithmetic, batchnorm, data_input
from onnx_trtcal.graph.fold.chain import Chain, channel_axis, find_chain, read_once
from onnx_trtcal.graph.fold.linear import Linear, after, before, linear_of
from onnx_trtcal.graph.model.weights import Weight
from onnx_trtcal.graph.names import Names, names_in
from onnx_trtcal.graph.view import is_standard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Fold", "FoldReport", "fold"]

_ARITHMETIC = ("Add", "Div", "Mul", "Sub")
_SUFFIX = ".folded"


@dataclass(frozen=True)
class Fold:
    """One node that went into the weights of another.

    Attributes:
        batchnorm: name of the folded node, or of its output where it has none.
        into: name of the operator that took it in, likewise.
        tensors: the tensors that vanished with it.
        op: the folded node's operator: BatchNormalization, or Add, Sub, Mul, Div.
    """

    batchnorm: str
    into: str
    tensors: tuple[str, ...]
    op: str = "BatchNormalization"


@dataclass(frozen=True)
class FoldReport:
    """What `fold` did.

    Attributes:
        folded: the folds, in graph order.
        left: each BatchNormalization that stays, and why.
        vanished: original tensor that no longer exists -> the surviving tensor that answers for it.
    """

    folded: tuple[Fold, ...]
    left: tuple[tuple[str, str], ...]
    vanished: Mapping[str, str]


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
    folder.finish()
    return FoldReport(tuple(folder.folded), tuple(folder.left), folder.vanished)


@dataclass
class _Folder:
    graph: gs.Graph
    folded: list[Fold] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    vanished: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graphs = [self.graph, *self.graph.subgraphs(recursive=True)]
        self.pinned = {tensor.name for graph in graphs for tensor in graph.outputs}
        self.names = Names(names_in(self.graph), first=2)
        self.constants = Constants(self.graph)
        self.main = {id(node) for node in self.graph.nodes}
        self.removed: set[int] = set()
        self.replaced: dict[int, list[gs.Node]] = {}
        self.made: set[str] = set()

    def batchnorm(self, node: gs.Node) -> None:
        """Folds one BatchNormalization into what is before it, else into the Conv after it."""
        reason = self._into_previous(node)
        if reason:
            following = self._into_next(node, reason)
            if following:
                self.left.append((_label(node), reason if following == reason else f"{reason}; {following}"))

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
            linear.node.op == "MatMul"
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
        axis = channel_axis(chain, node.inputs[0])
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
            self._beside(node, chain, weight, bias)
        else:
            self._instead(node, chain, weight, bias)
        return ""

    def _instead(self, node: gs.Node, chain: Chain, weight: np.ndarray, bias: np.ndarray) -> None:
        """The linear operator gives the folded node's output; all nodes between them go."""
        target, output = chain.linear.node, node.outputs[0]
        gone = [*([chain.add] if chain.add is not None else []), *chain.between, node]
        tensors = [member.outputs[0].name for member in (target, *gone[:-1])]
        for member in gone:
            self.removed.add(id(member))
            member.inputs.clear()
            member.outputs.clear()
        if target.op == "MatMul":
            if target.outputs[0].name not in self.made:
                target.outputs[0] = self._variable(target.outputs[0])
            self.replaced[id(node)] = [self._add(node.name, target.outputs[0], bias, chain, output)]
        else:
            target.outputs[0] = output
            self._set_bias(target, chain.linear, bias.astype(weight.dtype))
        self._set(target, chain.linear.slot, weight)
        self._report(node, target, output, tensors)

    def _beside(self, node: gs.Node, chain: Chain, weight: np.ndarray, bias: np.ndarray) -> None:
        """New operators give the folded node's output; the old ones stay as a branch that nothing reads."""
        output = node.outputs[0]
        old = chain.linear.node
        twin = gs.Node(old.op, self._node_name(old), dict(old.attrs), list(old.inputs), domain=old.domain)
        twin.outputs.append(self._variable(old.outputs[0]))
        new = [twin]
        if twin.op == "MatMul":
            like = chain.add.outputs[0] if chain.add is not None else old.outputs[0]
            added = self._variable(like)
            new.append(self._add("", twin.outputs[0], bias, chain, added))
        else:
            self._set_bias(twin, chain.linear, bias.astype(weight.dtype))
        self._set(twin, chain.linear.slot, weight)
        node.inputs.clear()
        node.outputs.clear()
        for member in chain.between:
            inputs = [new[-1].outputs[0], *list(member.inputs)[1:]]
            last = member is chain.between[-1]
            outputs = [output if last else self._variable(member.outputs[0])]
            new.append(
                gs.Node(
                    member.op, self._node_name(member), dict(member.attrs), inputs, outputs, member.domain
                )
            )
        self.removed.add(id(node))
        self.replaced[id(node)] = new
        self._report(node, old, output, [])

    def _into_next(self, node: gs.Node, reason: str) -> str:
        """Folds a BatchNormalization into the Conv that alone reads it; the old node stays to be measured.

        Returns why not; nothing to say beyond `reason` when no Conv follows.
        """
        output = node.outputs[0]
        if read_once(output, self.pinned) or id(output.outputs[0]) not in self.main:
            return reason
        target = output.outputs[0]
        linear = linear_of(target, self.constants)
        if target.op != "Conv" or target.inputs[0] is not output or not isinstance(linear, Linear):
            return reason
        affine = batchnorm(node, linear.weight.shape[1] * target.attrs.get("group", 1), self.constants)
        if isinstance(affine, str):
            return affine
        if affine.shift.any() and _pads(target, linear.weight.shape[2:]):
            return "the Conv after it pads its input"
        changed = before(linear, affine)
        if isinstance(changed, str):
            return changed
        weight, bias = changed
        target.inputs[0] = node.inputs[0]
        self._set_bias(target, linear, bias.astype(weight.dtype))
        self._set(target, linear.slot, weight)
        self._report(node, target, output, [])
        return ""

    def _report(self, node: gs.Node, into: gs.Node, output: gs.Tensor, tensors: Sequence[str]) -> None:
        label = node.name or output.name
        for name, answer in self.vanished.items():
            if answer in tensors:
                self.vanished[name] = output.name
        # A tensor this very rewrite made is none of the original's.
        original = tuple(name for name in tensors if name not in self.made)
        self.vanished.update(dict.fromkeys(original, output.name))
        self.folded.append(Fold(label, _label(into), original, node.op))

    def _set_bias(self, node: gs.Node, linear: Linear, bias: np.ndarray) -> None:
        if node.op == "Gemm" and "beta" in node.attrs:
            node.attrs["beta"] = 1.0
        while len(node.inputs) < 3:
            node.inputs.append(gs.Variable.empty())
        self._set(node, 2, bias, f"{linear.node.inputs[linear.slot].name.removesuffix(_SUFFIX)}.bias")

    def _set(self, node: gs.Node, slot: int, values: np.ndarray, fallback: str = "") -> None:
        """Gives a node a constant of its own; one that an earlier fold gave it makes way."""
        old = node.inputs[slot].name
        if old in self.made and len(node.inputs[slot].outputs) == 1:
            name = old
        else:
            name = self._fresh((old or fallback).removesuffix(_SUFFIX) + _SUFFIX)
        node.inputs[slot] = Weight(name, np.ascontiguousarray(values).reshape(values.shape))

    def _add(
        self, name: str, data: gs.Tensor, addend: np.ndarray, chain: Chain, output: gs.Tensor
    ) -> gs.Node:
        linear = chain.linear
        along = addend.reshape(-1, *[1] * (-linear.axis - 1)) if chain.addend is None else addend
        values = np.ascontiguousarray(along.astype(linear.weight.dtype)).reshape(along.shape)
        base = f"{linear.node.inputs[linear.slot].name.removesuffix(_SUFFIX)}.bias"
        constant = Weight(self._fresh(base + _SUFFIX), values)
        return gs.Node("Add", name, inputs=[data, constant], outputs=[output])

    def _variable(self, like: gs.Tensor) -> gs.Variable:
        return gs.Variable(self._fresh(like.name.removesuffix(_SUFFIX) + _SUFFIX), like.dtype, like.shape)

    def _fresh(self, wanted: str) -> str:
        name = self.names.fresh(wanted)
        self.made.add(name)
        return name

    def _node_name(self, node: gs.Node) -> str:
        return f"{node.name}{_SUFFIX}" if node.name else ""

    def finish(self) -> None:
        """Takes the folded nodes out of the graph and puts new ones where the folded node stood."""
        nodes: list[gs.Node] = []
        for node in self.graph.nodes:
            nodes.extend(
                new for new in (node, *self.replaced.get(id(node), ())) if id(new) not in self.removed
            )
        self.graph.nodes[:] = nodes


def _label(node: gs.Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else node.op)


def _pads(node: gs.Node, kernel: Sequence[int]) -> bool:
    """Whether a Conv pads its input, as far as its attributes tell."""
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        return any(size != 1 for size in kernel)
    return mode != "VALID" and any(node.attrs.get("pads") or ())
