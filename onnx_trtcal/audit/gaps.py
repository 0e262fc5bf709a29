"""Tensors without an entry in a calibration cache: whether each costs INT8, why, and what can be written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.scales import to_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from onnx_trtcal.audit.log_audit import Triage
    from onnx_trtcal.graph.plan.plan import Plan
    from onnx_trtcal.trt.build_log import TrtLog
    from onnx_trtcal.trt.cache import Cache

__all__ = ["WHY_NONE_NEEDED", "Gap", "log_gaps", "model_gaps", "with_log"]

_FLOATING = "the layers that make or read it run in floating point"
# How a tensor gets its scale -> does a gap cost INT8, and why.
_COSTS = {
    "measured": ("yes", _FLOATING),
    "tie": ("yes", f"holds the values of {{source}}; {_FLOATING}"),
    "pool": ("yes", f"takes the scale of {{source}}; {_FLOATING}"),
    "concat": ("yes", f"shares the scale of {{source}}; {_FLOATING}"),
    "group": (
        "maybe",
        "inside the group that makes {source}; costs INT8 only where TensorRT does not fuse it so",
    ),
    "folded": ("maybe", "folded into {source}; costs INT8 only where TensorRT does not fold it so"),
    "constant": ("no", "a constant: the layer that reads it takes in its values"),
}
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
        costs: "yes" it costs INT8, "maybe" it does, or "no".
        why: the reason.
        offer: a scale that can be written for it; None where only a calibration could tell.
        offer_from: where the offer comes from; empty without one.
    """

    tensor: str
    costs: str
    why: str
    offer: float | None = None
    offer_from: str = ""


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
        costs, why = _COSTS[owner.reason]
        why = why.format(source=repr(owner.source))
        if name in cache.scales:
            costs, why = "yes", f"its entry is infinite, which makes everything zero; {why}"
        gap = Gap(name, costs, why)
        partner = owner.source if owner.source in usable else partners.get(owner.source)
        if owner.reason == "constant":
            gap = replace(gap, offer=to_scale(plan.constants[name]), offer_from=_FROM_VALUES)
        elif partner is not None and (partner == owner.source or owner.reason not in ("group", "folded")):
            gap = replace(gap, offer=cache.scales[partner], offer_from=f"the entry of {partner!r}")
        yield gap
    for name, reason in plan.skipped.items():
        if name not in cache.scales:
            yield Gap(name, "no", WHY_NONE_NEEDED.get(reason, reason))


def with_log(gap: Gap, account: Triage, log: TrtLog) -> Gap:
    """The gap in the light of a build log, which knows TensorRT's network and what its builder asked for."""
    if gap.tensor in account.blamed:
        return _blamed(gap, account)
    if gap.costs == "no" or not log.types:
        return gap
    if gap.tensor not in log.types:
        return replace(gap, costs="no", why="TensorRT's network has no such tensor")
    if gap.tensor not in account.network:
        return replace(gap, costs="no", why=f"TensorRT made it {log.types[gap.tensor]}, which has no scale")
    return gap


def log_gaps(account: Triage, plan: Plan) -> Iterator[Gap]:
    """The gaps that only the log knows of: tensors of constants and of layers that TensorRT adds itself."""
    for tensor in account.lacking:
        if tensor not in plan.owners and tensor not in plan.skipped:
            yield _blamed(
                Gap(tensor, "maybe", "made by TensorRT itself, of what the log does not say"), account
            )
    for constant in account.constants:
        if constant.entry is None:
            why = "TensorRT's tensor of a constant: the layer that reads it takes in its values"
            source = f"the largest magnitude of the constant {constant.constant!r} / 127"
            yield _blamed(Gap(constant.tensor, "no", why, constant.scale, source), account)


def _blamed(gap: Gap, account: Triage) -> Gap:
    """The gap with what the log says of it: a layer named there has lost INT8; a mere warning may cost none."""
    if gap.tensor not in account.blamed:
        return gap
    layers = account.blamed[gap.tensor]
    if layers:
        return replace(gap, costs="yes", why=f"TensorRT's log: no INT8 for {', '.join(layers)}")
    costs = "maybe" if gap.costs == "no" else "yes"
    return replace(gap, costs=costs, why=f"TensorRT's log warns of it; {gap.why}")
