"""Decomposed activations: SiLU, hard-swish, GELU, Mish and their like, as exporters write them in several nodes.

TensorRT turns neighbouring pointwise ops into one pointwise kernel, and one with a single input joins the
convolution before it (ops.py, "catalog"). So no list of patterns is needed: the nodes belong together when
all of them start from one tensor x and scalar constants, and end in one tensor.

            ┌──────────────┐                   ┌─► Add 3 ─► Clip 0..6 ─┐
    conv ─► x ─► Sigmoid ─► Mul ─►     conv ─► x ────────────────────► Mul ─► Div 6 ─►
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx_trtcal.graph import ops
from onnx_trtcal.graph.view import Links, kind

__all__ = ["Region", "activation"]

# The tanh form of GELU takes 9 nodes with its cube as two products; more are not an activation.
_MOST_NODES = 12


@dataclass(frozen=True)
class Region:
    """Pointwise nodes (numbers in Links.nodes) with one input, the tensors between them, and the output."""

    nodes: tuple[int, ...]
    inner: tuple[str, ...]
    output: str


def activation(links: Links, x: str) -> Region | None:
    """The activation that the readers of tensor `x` make up together; None when they make up none.

    Only gates count: x times a function of x, or the larger of x and a multiple of it. They pass large values
    of x on as they are, so x may take the scale of the result even where TensorRT runs the activation in a
    kernel of its own. A function that ends in a narrow range does not allow that (ops.ACTIVATIONS, Sigmoid).
    """
    if x in links.pinned:
        return None
    region = _closed(links, x)
    if region is None or not _is_gate(links, x, region):
        return None
    return _with_factor(links, region)


def _closed(links: Links, x: str) -> Region | None:
    """The fewest pointwise nodes that hold all readers of x and whose results meet in one tensor."""
    inside: dict[str, int] = {x: -1}
    open_tensors = {x}
    nodes: list[int] = []
    while len(nodes) < _MOST_NODES:
        waiting = {at for name in open_tensors for at in links.consumers.get(name, ()) if at not in nodes}
        if not waiting:
            return None
        at = min(waiting)
        if not _pointwise(links, at, inside):
            return None
        output = links.nodes[at].outputs[0].name
        nodes.append(at)
        inside[output] = at
        open_tensors.add(output)
        open_tensors = {n for n in open_tensors if n == output or not set(links.consumers[n]) <= set(nodes)}
        if open_tensors == {output}:
            inner = tuple(name for name in inside if name not in (x, output))
            return Region(tuple(nodes), inner, output)
        if output in links.pinned or not links.consumers.get(output):
            return None
    return None


def _pointwise(links: Links, at: int, inside: dict[str, int]) -> bool:
    node = links.nodes[at]
    return kind(node) in ops.POINTWISE and all(
        t.name in inside or links.scalar_constant(t.name) for t in node.inputs if t.name
    )


def _is_gate(links: Links, x: str, region: Region) -> bool:
    node = links.nodes[region.nodes[-1]]
    names = [t.name for t in node.inputs]
    passes = [_multiple_of(links, name, x) for name in names]
    if len(passes) != 2:
        return False
    if kind(node) == "Mul":
        return passes.count(True) == 1 and _is_bounded(links, names[passes.index(False)])
    if kind(node) == "Div":
        return passes == [True, False] and _is_one_and_exp(links, names[1])
    return kind(node) == "Max" and all(passes)  # max(x, 0.1 x)


def _is_bounded(links: Links, name: str) -> bool:
    """Whether a tensor is a saturating function, shifted and scaled by constants: x * x * x is not a gate."""
    while True:
        node = links.maker(name)
        if node is None:
            return False
        if kind(node) in ops.SATURATING:
            return True
        variable = [t.name for t in node.inputs if t.name not in links.constants]
        if len(variable) != 1 or kind(node) not in ("Add", "Div", "Mul", "Reciprocal", "Sub"):
            return False
        if kind(node) == "Reciprocal" or (kind(node) == "Div" and node.inputs[1].name == variable[0]):
            return _is_one_and_exp(links, variable[0])  # 1 / (1 + exp(-x))
        name = variable[0]


def _is_one_and_exp(links: Links, name: str) -> bool:
    node = links.maker(name)
    if node is None or kind(node) != "Add":
        return False
    makers = [links.maker(t.name) for t in node.inputs if t.name not in links.constants]
    return len(makers) == 1 and makers[0] is not None and kind(makers[0]) == "Exp"


def _multiple_of(links: Links, name: str, x: str) -> bool:
    """Whether a tensor is x, or x times constants."""
    while name != x:
        node = links.maker(name)
        if node is None or kind(node) not in ("Mul", "Div") or not _scales(links, name):
            return False
        name = next(t.name for t in node.inputs if t.name not in links.constants)
    return True


def _scales(links: Links, name: str) -> bool:
    """Whether the node that makes a tensor multiplies or divides another one by a constant."""
    node = links.maker(name)
    assert node is not None
    constant = [t.name in links.constants for t in node.inputs]
    return constant == [False, True] or (constant == [True, False] and kind(node) == "Mul")


def _with_factor(links: Links, region: Region) -> Region:
    """The region with the constant factor that may follow it, as in x * relu6(x + 3) / 6."""
    reader = links.only_reader(region.output)
    if reader is None or kind(links.nodes[reader]) not in ("Mul", "Div"):
        return region
    node = links.nodes[reader]
    others = [t.name for t in node.inputs if t.name != region.output]
    output = node.outputs[0].name
    if len(others) != 1 or not links.scalar_constant(others[0]) or not _scales(links, output):
        return region
    return Region((*region.nodes, reader), (*region.inner, region.output), output)
