"""Tensors without an entry in a calibration cache: whether each costs INT8, why, and what can be written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, assert_never, cast

from onnx_trtcal.scales import to_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from onnx_trtcal.audit.log_audit import LogAudit
    from onnx_trtcal.graph.plan.plan import Plan
    from onnx_trtcal.trt.build_log import TrtLog
    from onnx_trtcal.trt.cache import Cache

__all__ = ["WHY_NONE_NEEDED", "Costs", "Gap", "behind_plugin", "log_gaps", "model_gaps", "with_log"]

Costs = Literal["yes", "maybe", "no"]
# Why a tensor takes the scale of its owner.
Reason = Literal["measured", "group", "tie", "pool", "folded", "concat", "constant"]

_FLOATING = "the layers that make or read it run in floating point"
# Why a tensor that is not calibrated needs no scale.
WHY_NONE_NEEDED = {
    "constant": "a constant: the layer that reads it takes in its values",
    "integer": "integers have no scale",
    "bool": "truth values have no scale",
    "string": "strings have no scale",
    "shape arithmetic": "shape arithmetic never runs in INT8",
    "already quantized": "its Q/DQ nodes hold its scale",
}
_FROM_VALUES = "its largest magnitude / 127"


@dataclass(frozen=True)
class Gap:
    """A tensor without a usable entry.

    Attributes:
        tensor: its name.
        costs: whether the gap costs INT8.
        why: the reason.
        offer: a scale that can be written for it; None where only a calibration can tell.
        offer_from: where the offer comes from; empty without one.
        partner: the tensor whose entry is offered; empty where the offer comes from elsewhere.
    """

    tensor: str
    costs: Costs
    why: str
    offer: float | None = None
    offer_from: str = ""
    partner: str = ""


def model_gaps(plan: Plan, cache: Cache, usable: Collection[str]) -> Iterator[Gap]:
    """The model's tensors without a usable entry: its float tensors in graph order, then all others.

    Args:
        plan: which tensors need a scale, and which of them share one.
        cache: the cache.
        usable: the names of its entries that hold a finite scale.
    """
    partners = {
        owner.source: name
        for name, owner in reversed(list(plan.owners.items()))
        if owner.reason in ("tie", "pool") and name in usable
    }
    for name, owner in plan.owners.items():
        if name in usable:
            continue
        costs, why = _cost(cast("Reason", owner.reason), owner.source)
        if name in cache.scales:
            costs, why = "yes", f"its entry is infinite, which makes everything zero; {why}"
        gap = Gap(name, costs, why)
        partner = owner.source if owner.source in usable else partners.get(owner.source)
        if owner.reason == "constant":
            gap = replace(gap, offer=to_scale(plan.constants[name]), offer_from=_FROM_VALUES)
        elif partner is not None and (partner == owner.source or owner.reason not in ("group", "folded")):
            source = f"the entry of {partner!r}"
            gap = replace(gap, offer=cache.scales[partner], offer_from=source, partner=partner)
        yield gap
    for name, reason in plan.skipped.items():
        if name not in cache.scales:
            yield Gap(name, "no", WHY_NONE_NEEDED.get(reason, reason))


def behind_plugin(gap: Gap, beyond: Mapping[str, str]) -> Gap:
    """The gap, which costs nothing where it lies behind a plugin and no layer there can run in INT8.

    Args:
        gap: of the model.
        beyond: such tensors -> the plugin, from `beyond_int8`.
    """
    if gap.costs == "no" or gap.tensor not in beyond:
        return gap
    why = f"behind {beyond[gap.tensor]}, a plugin, where there is no layer that can run in INT8"
    return replace(gap, costs="no", why=why)


def with_log(gap: Gap, account: LogAudit, log: TrtLog) -> Gap:
    """The gap with what a build log adds: TensorRT's network, and the scales that its builder asked for."""
    if gap.tensor in account.blamed:
        return _blamed(gap, account)
    if gap.costs == "no" or not log.types:
        return gap
    if gap.tensor not in log.types:
        return replace(gap, costs="no", why="TensorRT's network has no such tensor")
    if gap.tensor not in account.network:
        return replace(gap, costs="no", why=f"TensorRT made it {log.types[gap.tensor]}, which has no scale")
    return gap


def log_gaps(account: LogAudit, plan: Plan) -> Iterator[Gap]:
    """The gaps that only the log shows: tensors of constants, and of layers that TensorRT adds itself."""
    for tensor in account.lacking:
        if tensor not in plan.owners and tensor not in plan.skipped:
            yield _blamed(
                Gap(tensor, "maybe", "made by TensorRT itself; the log does not say from what"), account
            )
    for constant in account.constants:
        if constant.entry is None:
            why = "TensorRT's tensor of a constant: the layer that reads it takes in its values"
            source = f"the largest magnitude of the constant {constant.constant!r} / 127"
            yield _blamed(Gap(constant.tensor, "no", why, constant.scale, source), account)


def _blamed(gap: Gap, account: LogAudit) -> Gap:
    """The gap with what the log says: a layer that it names has lost INT8, but a mere warning may cost nothing."""
    if gap.tensor not in account.blamed:
        return gap
    layers = account.blamed[gap.tensor]
    if layers:
        return replace(gap, costs="yes", why=f"TensorRT's log: no INT8 for {', '.join(layers)}")
    costs: Costs = "maybe" if gap.costs == "no" else "yes"
    return replace(gap, costs=costs, why=f"TensorRT's log warns of it; {gap.why}")


def _cost(reason: Reason, owner: str) -> tuple[Costs, str]:
    """Whether a gap costs INT8 and why, by how the tensor gets its scale from the tensor that owns it."""
    match reason:
        case "measured":
            return "yes", _FLOATING
        case "tie":
            return "yes", f"holds the values of {owner!r}; {_FLOATING}"
        case "pool":
            return "yes", f"takes the scale of {owner!r}; {_FLOATING}"
        case "concat":
            return "yes", f"shares the scale of {owner!r}; {_FLOATING}"
        case "group":
            return (
                "maybe",
                f"inside the group that makes {owner!r}; costs INT8 only where TensorRT does not fuse it so",
            )
        case "folded":
            return "maybe", f"folded into {owner!r}; costs INT8 only where TensorRT does not fold it so"
        case "constant":
            return "no", WHY_NONE_NEEDED["constant"]
        case _:
            assert_never(reason)
