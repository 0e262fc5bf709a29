"""What an evaluation finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.evaluation.accuracy import Merit

__all__ = ["CLEAN", "Evaluation", "TensorError"]

CLEAN = 100.0
"""SQNR in dB above which a difference is float rounding and no quantization (INT8 alone gives 20 to 50)."""


@dataclass(frozen=True)
class TensorError:
    """How far a tensor of the quantized model is from the float model's, quantization so far included.

    Attributes:
        name: the tensor.
        op: op type of the node that makes it; "Input" for graph inputs.
        sqnr: signal to quantization noise in dB; inf where nothing differs.
        read_sqnr: the same for what quantized layers read of it, behind its own Q/DQ pair; None without one.
        cosine: cosine similarity.
        max_error: largest absolute difference.
        above: the lowest SQNR among the nearest compared tensors it is computed from; inf without any.
        nonfinite: values left out because one of them is NaN or Inf.
    """

    name: str
    op: str
    sqnr: float
    read_sqnr: float | None
    cosine: float
    max_error: float
    above: float
    nonfinite: int

    @property
    def lost(self) -> float:
        """DB lost since the tensors it is computed from; 0 where those had no error yet."""
        return max(self.above - self.sqnr, 0.0) if self.above < CLEAN else 0.0


@dataclass(frozen=True)
class Evaluation:
    """FP32 against simulated INT8.

    Attributes:
        samples: how many were run.
        tensors: every compared tensor, in graph order.
        outputs: the model's float outputs; `above` and `read_sqnr` are as for tensors.
        classes: the output whose largest value is the answer; None when no output has one value per class.
        agreement: share of the samples with the same answer from both; None without such an output.
        scores: `top-1`, `top-5`; empty without labels.
        metric: name -> the user's metric; empty without one.
        equal: integer output -> share of the samples for which both models give the same values.
    """

    samples: int
    tensors: tuple[TensorError, ...]
    outputs: tuple[TensorError, ...]
    classes: str | None
    agreement: float | None
    scores: Mapping[str, Merit]
    metric: Mapping[str, Merit]
    equal: Mapping[str, float]

    @property
    def first(self) -> TensorError | None:
        """The first tensor, in graph order, in which quantization shows."""
        return next((tensor for tensor in self.tensors if tensor.sqnr < CLEAN), None)

    def grows(self, most: int = 5) -> list[TensorError]:
        """The tensors at which most dB are lost at once, the worst first."""
        ranked = sorted(self.tensors, key=lambda tensor: -tensor.lost)
        return [tensor for tensor in ranked[:most] if tensor.lost > 0]
