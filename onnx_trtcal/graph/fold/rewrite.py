"""The rewrites of a fold: new weights, and the nodes that go or come with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnx_trtcal.graph.model.weights import Weight
from onnx_trtcal.graph.names import Names, names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.graph.fold.chain import Chain
    from onnx_trtcal.graph.fold.linear import Linear

__all__ = ["Fold", "FoldReport", "Rewriter", "label"]

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
        vanished: original tensor that no longer exists -> the surviving tensor that stands for it.
    """

    folded: tuple[Fold, ...]
    left: tuple[tuple[str, str], ...]
    vanished: Mapping[str, str]


class Rewriter:
    """Rewrites a graph in place, fold by fold; nodes are taken out and put in by `finish`."""

    def __init__(self, graph: gs.Graph) -> None:
        self.graph = graph
        self.names = Names(names_in(graph), first=2)
        self.folded: list[Fold] = []
        self.vanished: dict[str, str] = {}
        self._stand_for: dict[str, list[str]] = {}  # the other way round
        self.removed: set[int] = set()
        self.replaced: dict[int, list[gs.Node]] = {}
        self.made: set[str] = set()

    def instead(self, node: gs.Node, chain: Chain, weight: np.ndarray, bias: np.ndarray) -> None:
        """The linear operator gives the folded node's output; all nodes between them go."""
        target, output = chain.linear.node, node.outputs[0]
        gone = [*([chain.add] if chain.add is not None else []), *chain.between, node]
        tensors = [member.outputs[0].name for member in (target, *gone[:-1])]
        for member in gone:
            self.removed.add(id(member))
            member.inputs.clear()
            member.outputs.clear()
        if chain.linear.op.bias_input is None:
            if target.outputs[0].name not in self.made:
                target.outputs[0] = self._variable(target.outputs[0])
            self.replaced[id(node)] = [self._add(node.name, target.outputs[0], bias, chain, output)]
        else:
            target.outputs[0] = output
            self._set_bias(target, chain.linear, bias.astype(weight.dtype))
        self._set(target, chain.linear.slot, weight)
        self._report(node, target, output, tensors)

    def beside(self, node: gs.Node, chain: Chain, weight: np.ndarray, bias: np.ndarray) -> None:
        """New operators give the folded node's output; the old ones stay as a branch that nothing reads."""
        output = node.outputs[0]
        old = chain.linear.node
        copy = gs.Node(old.op, self._node_name(old), dict(old.attrs), list(old.inputs), domain=old.domain)
        copy.outputs.append(self._variable(old.outputs[0]))
        new = [copy]
        if chain.linear.op.bias_input is None:
            like = chain.add.outputs[0] if chain.add is not None else old.outputs[0]
            added = self._variable(like)
            new.append(self._add("", copy.outputs[0], bias, chain, added))
        else:
            self._set_bias(copy, chain.linear, bias.astype(weight.dtype))
        self._set(copy, chain.linear.slot, weight)
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

    def into_next(self, node: gs.Node, linear: Linear, weight: np.ndarray, bias: np.ndarray) -> None:
        """The Conv that reads the folded node's output reads its input; the folded node stays."""
        target, output = linear.node, node.outputs[0]
        target.inputs[0] = node.inputs[0]
        self._set_bias(target, linear, bias.astype(weight.dtype))
        self._set(target, linear.slot, weight)
        self._report(node, target, output, [])

    def finish(self, left: Iterable[tuple[str, str]]) -> FoldReport:
        """Takes the folded nodes out of the graph and puts new ones where the folded node stood."""
        nodes: list[gs.Node] = []
        for node in self.graph.nodes:
            nodes.extend(
                new for new in (node, *self.replaced.get(id(node), ())) if id(new) not in self.removed
            )
        self.graph.nodes[:] = nodes
        return FoldReport(tuple(self.folded), tuple(left), self.vanished)

    def _report(self, node: gs.Node, into: gs.Node, output: gs.Tensor, tensors: Sequence[str]) -> None:
        # A tensor this very rewrite made is none of the original's.
        original = tuple(name for name in tensors if name not in self.made)
        now = [name for tensor in tensors for name in self._stand_for.pop(tensor, ())]
        now += original
        self.vanished.update(dict.fromkeys(now, output.name))
        self._stand_for.setdefault(output.name, []).extend(now)
        self.folded.append(Fold(node.name or output.name, label(into), original, node.op))

    def _set_bias(self, node: gs.Node, linear: Linear, bias: np.ndarray) -> None:
        op = linear.op
        assert op.bias_input is not None, "the bias of such an operator is an Add behind it"
        if op.bias_factor in node.attrs:
            node.attrs[op.bias_factor] = 1.0
        while len(node.inputs) <= op.bias_input:
            node.inputs.append(gs.Variable.empty())
        self._set(
            node, op.bias_input, bias, f"{linear.node.inputs[linear.slot].name.removesuffix(_SUFFIX)}.bias"
        )

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


def label(node: gs.Node) -> str:
    """What to call a node in a report."""
    return node.name or (node.outputs[0].name if node.outputs else node.op)
