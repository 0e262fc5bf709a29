"""What one step of `tune` came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.tuning.cost import Cost, Engine
from onnx_trtcal.tuning.score import NOISE, Score
from onnx_trtcal.tuning.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Step", "amount", "figure_text"]


@dataclass(frozen=True)
class Step:
    """A setting, what it gains and what it costs.

    Attributes:
        setting: what was tried.
        score: on the half of the test data that chooses.
        cost: what stays in floating point.
        digest: SHA-256 of the Q/DQ model.
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
    """A drop in words: points where the figure is a share, plain numbers for a metric of the user's."""
    if score.figure == NOISE:
        return f"{value:.3%}"
    if score.figure in ("agreement", "top-1", "mIoU") or score.figure.startswith("mAP"):
        return f"{100 * value:.2f} points"
    return f"{value:.4g}"


def figure_text(score: Score, value: float) -> str:
    """The figure itself in words."""
    if score.figure in ("agreement", "top-1", "mIoU", NOISE) or score.figure.startswith("mAP"):
        return f"{value:.2%}"
    return f"{value:.6g}"
