"""Thresholds of the observed tensors become a scale for every float tensor of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from onnx_trtcal.errors import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping

    from onnx_trtcal.graph.plan.plan import Plan

__all__ = [
    "HALF_STEP",
    "QUANTIZED_MAX",
    "SCALE_OF_ZEROS",
    "Reason",
    "Scale",
    "make_scales",
    "named_tensors",
    "to_scale",
    "unseen_text",
    "unseen_warnings",
]

QUANTIZED_MAX = 127
HALF_STEP = 0.5 / QUANTIZED_MAX
"""Half a step of INT8, as a share of the threshold: what is clipped by less is rounded no worse than the rest."""
# Any scale represents an all-zero tensor without error; that of [-1, 1] cannot upset a kernel it meets.
SCALE_OF_ZEROS = float(np.float32(1) / np.float32(QUANTIZED_MAX))
_MOST_NAMED = 10
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)

Reason = Literal["measured", "group", "tie", "pool", "folded", "constant", "concat", "alias", "bound"]

# Why a scale needs no data.
_KNOWN = ("constant", "bound")


@dataclass(frozen=True, repr=False)
class Scale:
    """How one tensor is quantized: q = clip(round(x / scale), -127, 127).

    Attributes:
        tensor: the tensor's name.
        scale: threshold / 127, exactly representable in float32.
        threshold: the largest magnitude kept (0 for an all-zero tensor).
        amax: the largest magnitude seen in the observed tensor.
        method: what chose the threshold, as `percentile:99.9`.
        source: the scale owner: the observed tensor whose scale this is, often the tensor itself.
        reason: why that tensor owns the scale: it is the tensor itself (`measured`), or the two share a fused
            group, a tie, a MaxPool, a folding, or a tied Concat; `constant` for a tensor that depends on no input. Of a
            tensor that only NVIDIA's parser names, `alias` where it holds the owner's values, `bound` where its op
            keeps it within one.
        seen: whether the owner held a finite value in any sample. Where it did not, the scale is made up.
    """

    tensor: str
    scale: float
    threshold: float
    amax: float
    method: str
    source: str
    reason: Reason
    seen: bool = True

    def __repr__(self) -> str:
        owner = "" if self.source == self.tensor else f", {self.reason} of {self.source!r}"
        return f"<Scale {self.scale:.6g} of {self.tensor!r} by {self.method}{owner}>"

    @property
    def all_zero(self) -> bool:
        """Whether zeros were seen, and nothing else."""
        return self.seen and self.threshold == 0


def named_tensors(names: Collection[str]) -> str:
    """Tensors as a warning names them: the first few, and how many more there are."""
    return (
        f"{'tensor' if len(names) == 1 else 'tensors'} {listed([repr(name) for name in names], _MOST_NAMED)}"
    )


def unseen_text(names: Collection[str]) -> str:
    """What a warning says of tensors whose scale is made up; it can be continued."""
    return f"{named_tensors(names)}: no finite value in any sample, so the range was never seen"


def unseen_warnings(
    names: Collection[str], scales: Mapping[str, float], *, from_cache: bool
) -> Iterator[str]:
    """What to warn of where layers that read tensors of no known range are to be quantized.

    Args:
        names: the tensors.
        scales: tensor -> scale.
        from_cache: whether the scales are those of a cache, where 0 stands for no range.
    """
    zero = [name for name in names if scales.get(name) == 0]
    if from_cache and zero:
        yield (
            f"the scale of {named_tensors(zero)} is 0 in the cache, which says that no range is known: the layers that "
            f"read {'it' if len(zero) == 1 else 'them'} stay in floating point"
        )
    others = [name for name in names if not from_cache or name not in zero]
    if others:
        yield (
            f"{unseen_text(others)}; the layers that read {'it' if len(others) == 1 else 'them'} stay in floating point"
        )


def to_scale(threshold: float, *, zero_scales: bool = False) -> float:
    """float32(threshold) / 127 in float32, as TensorRT computes it; always finite, positive unless asked.

    Args:
        threshold: the largest magnitude kept; 0 for an all-zero tensor.
        zero_scales: return 0 for a threshold of 0, as TensorRT does.
    """
    kept = np.float32(min(threshold, _LARGEST))
    if kept == 0:
        return 0.0 if zero_scales else SCALE_OF_ZEROS
    return max(float(kept / np.float32(QUANTIZED_MAX)), _SMALLEST_NORMAL)


def make_scales(
    plan: Plan,
    thresholds: Mapping[str, float],
    amaxes: Mapping[str, float],
    methods: Mapping[str, str],
    *,
    zero_scales: bool = False,
    unseen: Container[str] = (),
) -> dict[str, Scale]:
    """A scale for every tensor of the plan, in the plan's order.

    Args:
        plan: which observed tensor owns the scale of which tensor.
        thresholds: per observed tensor, the largest magnitude kept.
        amaxes: per observed tensor, the largest magnitude seen.
        methods: per observed tensor, what chose the threshold.
        zero_scales: write 0 for tensors that were all zeros or never seen.
        unseen: the observed tensors that held no finite value in any sample.

    Raises:
        KeyError: when an observed tensor of the plan was not measured (a fault of the caller).
    """
    scales = {}
    for tensor, owner in plan.owners.items():
        if owner.reason in _KNOWN:
            amax = plan.constants[owner.source]
            threshold, method = amax, "minmax"
        else:
            amax, method = amaxes[owner.source], methods[owner.source]
            threshold = thresholds[owner.source]
        if not math.isfinite(threshold):
            threshold = _LARGEST
        scale = to_scale(threshold, zero_scales=zero_scales)
        reason = cast("Reason", owner.reason)
        seen = owner.reason in _KNOWN or owner.source not in unseen
        scales[tensor] = Scale(tensor, scale, threshold, amax, method, owner.source, reason, seen)
    return scales
