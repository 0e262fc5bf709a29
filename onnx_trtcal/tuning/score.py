"""How well a quantized model does on test data, in the one figure that the target is about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import ModelError
from onnx_trtcal.fidelity.blocks import worst

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.evaluation.tasks.outcome import Outcome
    from onnx_trtcal.fidelity.blocks import BlockError

__all__ = ["NOISE", "Score", "score_of"]

NOISE = "noise in the worst block"
"""The figure where outputs hold no answers: error power relative to the block's own."""


@dataclass(frozen=True)
class Score:
    """What a quantized model comes to on some samples.

    Attributes:
        figure: what is measured: `top-1`, `mAP 0.5:0.95`, `agreement`, the user's metric, or NOISE.
        fp32: the figure of the float model.
        int8: that of the quantized model.
        drop: how much worse that is; negative where it is better.
        error: standard error of the difference; None where it is not known.
        noise: noise in the worst block as a share of its power; decides between equal figures.
        block: the name of that block.
        samples: how many samples.
        kept: detections of the float model that are kept; None for other tasks.
        wanted: detections of the float model.
    """

    figure: str
    fp32: float
    int8: float
    drop: float
    error: float | None
    noise: float
    block: str
    samples: int
    kept: int | None = None
    wanted: int | None = None

    @property
    def rank(self) -> tuple[float, float]:
        """What is smaller for the better of two: the drop as far as there is one, then the noise."""
        return (max(self.drop, 0.0), self.noise)

    def meets(self, max_drop: float) -> bool:
        """Whether the target is met; what only rounding in floating point tells apart is equal."""
        return self.drop <= max_drop + 1e-9

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Score:
        """A score from its fields, as they are noted."""
        return Score(**fields)


def score_of(outcome: Outcome, blocks: Sequence[BlockError], samples: int, *, lower_is_better: bool) -> Score:
    """The score of an outcome.

    Args:
        outcome: what the task and the metric say.
        blocks: the error in each block of the outputs.
        samples: how many samples.
        lower_is_better: whether the user's metric is an error.

    Raises:
        ModelError: there is neither an answer nor a block to measure.
    """
    found = worst(blocks)
    noise = found.relative if found else 0.0
    block = found.block.name if found else ""
    target = outcome.target
    if target is None:
        if found is None:
            raise ModelError(
                "nothing tells how good an answer is: no output has one value per class, and none holds values to "
                "compare",
                fix="give --metric with a function of yours, or --task",
            )
        return Score(NOISE, 0.0, noise, noise, None, noise, block, samples)
    merit = target.merit
    drop = merit.int8 - merit.fp32 if lower_is_better else merit.fp32 - merit.int8
    counts = outcome.detection
    return Score(
        target.name,
        merit.fp32,
        merit.int8,
        math.inf if math.isnan(drop) else drop,
        merit.error,
        noise,
        block,
        samples,
        counts.kept if counts else None,
        counts.fp32 if counts else None,
    )
