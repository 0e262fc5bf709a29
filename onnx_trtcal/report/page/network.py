"""The network as the page shows it: what makes each observed tensor, and whether that runs in INT8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.plan.plan import plan
from onnx_trtcal.qdq.place.mixed_concats import mixed_concats
from onnx_trtcal.qdq.place.place import place
from onnx_trtcal.scales import QUANTIZED_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.groups.group import Group
    from onnx_trtcal.graph.plan.plan import Plan
    from onnx_trtcal.qdq.place.placement import Placement
    from onnx_trtcal.report.page.facts import Precision
    from onnx_trtcal.report.page.material import Material

__all__ = ["Network", "Unit", "network_of"]


@dataclass(frozen=True)
class Unit:
    """What makes an observed tensor.

    Attributes:
        op: op type of the layer, or of the one node; "Input" for graph inputs.
        node: its name, or its first output where it has none; empty for inputs.
        nodes: names and first outputs of all of its nodes.
        anchor: first output of the layer; empty where it is none.
        precision: what the layer runs in; empty where it is none.
        why: why that is floating point.
    """

    op: str
    node: str = ""
    nodes: frozenset[str] = frozenset()
    anchor: str = ""
    precision: Precision = ""
    why: str = ""


@dataclass(frozen=True)
class Network:
    """The folded graph, its plan, and where its Q/DQ pairs go.

    Attributes:
        flow: the graph.
        plan: which tensors are observed, and who owns which scale.
        placement: which layers run in INT8.
        units: observed tensor -> what makes it, in graph order.
    """

    flow: Flow
    plan: Plan
    placement: Placement
    units: dict[str, Unit]


def network_of(material: Material) -> Network:
    """The network of the material's model."""
    source = material.source
    folded = source.folded
    calibration = source.calibration
    flow = Flow(folded.folded)
    planned = (
        calibration.prepared.plan
        if calibration
        else plan(folded.model, folded.folded, folded.folds.vanished, groups=folded.groups)
    )
    placement = _placement(material, flow)
    by_output = {group.output: group for group in folded.groups}
    units = {
        name: _unit(name, flow, by_output.get(planned.products.get(name, name)), placement)
        for name in planned.observed
    }
    if material.precisions is not None:
        units = {name: _as_given(unit, material.precisions) for name, unit in units.items()}
    return Network(flow, planned, placement, units)


def _as_given(unit: Unit, precisions: Mapping[str, str]) -> Unit:
    """What a layer runs in, in a Q/DQ model that is given."""
    if not unit.precision or unit.node not in precisions:
        return unit
    int8 = precisions[unit.node] == "int8"
    return replace(
        unit, precision="int8" if int8 else "float", why="" if int8 else "the Q/DQ model has no pairs on it"
    )


def _placement(material: Material, flow: Flow) -> Placement:
    """That of the Q/DQ model that was made; else that of the one that would be made of the scales."""
    if material.made is not None:
        return material.made.quantized.placement
    source = material.source
    kept = {name: scale * QUANTIZED_MAX for name, scale in source.scales.items() if name not in source.unseen}
    mixed = mixed_concats(flow, kept)
    return place(
        source.folded.folded, source.folded.groups, material.qdq, source.scales, source.unseen, mixed
    )


def _unit(tensor: str, flow: Flow, group: Group | None, placement: Placement) -> Unit:
    if group is None:
        node = flow.producer(tensor)
        if node is None:
            return Unit("Input")
        names = _names(node)
        anchor = node.outputs[0].name
        return Unit(node.op, names[0], frozenset(names), anchor, *_precision(anchor, placement))
    layer = flow.node[group.anchor]
    nodes = [flow.node[each] for each in group.nodes if each in flow.node]
    return Unit(
        layer.op,
        _names(layer)[0],
        frozenset(name for node in nodes for name in _names(node)),
        group.anchor,
        *_precision(group.anchor, placement),
    )


def _names(node: gs.Node) -> tuple[str, ...]:
    output = node.outputs[0].name
    return (node.name, output) if node.name else (output,)


def _precision(anchor: str, placement: Placement) -> tuple[Precision, str]:
    if anchor in placement.left:
        return "float", placement.left[anchor]
    return ("int8", "") if anchor in placement.quantized else ("", "")
