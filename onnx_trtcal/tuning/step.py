"""What one step of `tune` came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.fidelity.distance import decibels
from onnx_trtcal.tuning.cost import Cost, Engine
from onnx_trtcal.tuning.score import NOISE, Score
from onnx_trtcal.tuning.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Step", "amount", "figure_and_drop", "figure_text", "target_text"]


@dataclass(frozen=True)
class Step:
    """A setting, what it gains and what it costs.

    Attributes:
        setting: what was tried.
        score: on the half of the test data that chooses.
        cost: what stays in floating point.
        digest: SHA-256 of the Q/DQ model's graph.
        seconds: how long it took.
        engine: what NVIDIA's compiler says; None where it is not asked or does not build the model.
    """

    setting: Setting
    score: Score
    cost: Cost
    digest: str
    seconds: float
    engine: Engine | None = None

    def record(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Step:
        """A step from what `record` gave."""
        return Step(
            Setting.of(fields["setting"]),
            Score.of(fields["score"]),
            Cost.of(fields["cost"]),
            fields["digest"],
            fields["seconds"],
            Engine.of(fields["engine"]) if fields["engine"] else None,
        )


def amount(score: Score, value: float) -> str:
    """A drop in words: points where the figure is a share, a share of noise, or a number in the metric's own unit."""
    if score.figure == NOISE:
        return f"{value:.3%}"
    return f"{100 * value:.2f} points" if _is_share(score) else f"{value:.4g}"


def target_text(score: Score, max_drop: float) -> str:
    """What was asked for, in words."""
    if score.figure == NOISE:
        return f"{figure_text(score, max_drop)} of {NOISE} at most"
    return f"a drop of {amount(score, max_drop)} at most"


def figure_text(score: Score, value: float) -> str:
    """The figure itself in words."""
    if score.figure == NOISE:
        return f"{value:.3%} ({decibels(1.0, value):.1f} dB)"
    return f"{value:.2%}" if _is_share(score) else f"{value:.6g}"


def figure_and_drop(score: Score) -> str:
    """What INT8 comes to, and how much worse that is."""
    found = f"{score.figure} {figure_text(score, score.int8)}"
    if score.wanted is not None:
        found += f" ({score.kept} of {score.wanted} detections kept)"
    return found if score.figure == NOISE else f"{found}, a drop of {amount(score, score.drop)}"


def _is_share(score: Score) -> bool:
    return score.figure in ("agreement", "mIoU") or score.figure.startswith(("mAP", "top-"))
