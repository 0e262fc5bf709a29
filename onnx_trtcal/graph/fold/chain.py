"""The way from a normalisation back to the linear operator it can be folded into."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.fold.affine import data_input, keeps_values
from onnx_trtcal.graph.fold.linear import Linear, linear_of
from onnx_trtcal.graph.ops import RESHAPES
from onnx_trtcal.graph.view import is_standard, kind
from onnx_trtcal.graph.weighted import WEIGHTED, WEIGHTED_NAMES

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.constants import Constants

__all__ = ["Chain", "channel_axis", "find_chain", "read_once"]


@dataclass(frozen=True)
class Chain:
    """What lies between a linear operator and the node to fold into it.

    Attributes:
        linear: the operator.
        add: the Add directly behind an operator without a bias (MatMul), which carries it.
        addend: its constant, in float64.
        between: the nodes after these, in running order, which hand on all values.
        moves: whether some of them give the values another shape.
    """

    linear: Linear
    add: gs.Node | None
    addend: np.ndarray | None
    between: tuple[gs.Node, ...]
    moves: bool


def find_chain(tensor: gs.Tensor, pinned: Container[str], constants: Constants) -> Chain | str:
    """Goes back from a tensor to a linear operator, or says why there is no way.

    Args:
        tensor: the input of the node to fold.
        pinned: names of tensors that must stay (graph outputs).
        constants: the values of the graph's constants.
    """
    between: list[gs.Node] = []
    while tensor.inputs:
        node = tensor.inputs[0]
        linear = linear_of(node, constants)
        added = _bias_add(node, pinned, constants) if linear is None else None
        moves = keeps_values(node, constants) or kind(node) in RESHAPES
        if linear is None and added is None and not moves:
            return f"{node.op} comes before it, and no {WEIGHTED_NAMES}"
        reason = linear if isinstance(linear, str) else read_once(tensor, pinned)
        if reason:
            return reason
        if isinstance(linear, Linear):
            return _chain(linear, None, None, between)
        if added is not None:
            return _chain(added[0], node, added[1], between)
        between.insert(0, node)
        tensor = node.inputs[0]
    return f"a graph input comes before it, and no {WEIGHTED_NAMES}"


def _chain(
    linear: Linear, add: gs.Node | None, addend: np.ndarray | None, between: Sequence[gs.Node]
) -> Chain:
    return Chain(linear, add, addend, tuple(between), any(node.op in RESHAPES for node in between))


def _bias_add(
    node: gs.Node, pinned: Container[str], constants: Constants
) -> tuple[Linear, np.ndarray] | None:
    """The operator without a bias that an Add (or Sub) of a constant follows, and what it adds."""
    if node.op not in ("Add", "Sub") or not is_standard(node):
        return None
    side = data_input(node, constants)
    if (
        side is None
        or (node.op == "Sub" and side == 1)
        or read_once(node.inputs[side], pinned)
        or not node.inputs[side].inputs
    ):
        return None
    producer = node.inputs[side].inputs[0]
    op = WEIGHTED.get(kind(producer))
    if op is None or op.bias_input is not None:
        return None
    linear = linear_of(producer, constants)
    value = constants.value(node.inputs[1 - side])
    if not isinstance(linear, Linear) or value is None or not np.isfinite(value.astype(np.float64)).all():
        return None
    if linear.rank is None or value.ndim > linear.rank:
        return None
    return linear, value.astype(np.float64) * (-1 if node.op == "Sub" else 1)


def read_once(tensor: gs.Tensor, pinned: Container[str]) -> str:
    """Why a tensor between two nodes has to stay; empty when one node alone reads it."""
    if tensor.name in pinned:
        return f"{tensor.name!r} is a graph output"
    if len(tensor.outputs) > 1:
        return f"{tensor.name!r} is also read by other nodes"
    if not tensor.outputs:
        return f"nothing reads {tensor.name!r}"
    return ""


def channel_axis(chain: Chain) -> int | None:
    """Where axis 1 of a normalisation's input lies in the linear operator's output, counted from the end.

    Args:
        chain: the nodes before the normalisation.

    Returns:
        None when a node between mixes that axis with others, or shapes that decide it are not known.
    """
    if not chain.moves:
        rank = chain.linear.rank
        return None if rank is None or rank < 2 else 1 - rank
    axis = 1
    for node in reversed(chain.between):
        if node.op in RESHAPES:
            moved = _axis_before(node.inputs[0].shape, node.outputs[0].shape, axis, chain.linear.channels)
            if moved is None:
                return None
            axis = moved
    shape = chain.linear.node.outputs[0].shape
    return None if shape is None else axis - len(shape)


def _axis_before(
    old: Sequence[int | str | None] | None, new: Sequence[int | str | None] | None, axis: int, channels: int
) -> int | None:
    """The axis of the old shape that a reshape made into `axis` of the new one, untouched."""
    if old is None or new is None or axis >= len(new) or new[axis] != channels:
        return None
    for candidate, size in enumerate(old):
        if size == channels and (
            _same(old[:candidate], new[:axis]) or _same(old[candidate + 1 :], new[axis + 1 :])
        ):
            return candidate
    return None


def _same(left: Sequence[int | str | None], right: Sequence[int | str | None]) -> bool:
    """Whether two runs of axes surely hold the same number of elements."""
    names = [sorted(dim for dim in dims if isinstance(dim, str)) for dims in (left, right)]
    sizes = [math.prod(dim for dim in dims if isinstance(dim, int)) for dims in (left, right)]
    return None not in (*left, *right) and names[0] == names[1] and sizes[0] == sizes[1] > 0
