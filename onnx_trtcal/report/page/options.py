"""What a report holds beside the scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.qdq.options import QdqOptions

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.ranking import Sensitivity
    from onnx_trtcal.trt.cache import Cache

__all__ = ["ReportOptions"]


@dataclass(frozen=True)
class ReportOptions:
    """What a report holds beside the scales.

        >>> from onnx_trtcal import ReportOptions
        >>> ReportOptions(cache="model.calibration.cache", compile=True).earlier is None
        True

    Attributes:
        earlier: the run before, for what moved: whatever `quantize` takes as a scale source but data.
        cache: a calibration cache to show beside the scales, and whose gaps are found.
        measurements: evaluations and rankings, or files that `evaluate --json` and `sensitivity --json` printed; the
            last of each kind counts.
        compile: build the model with Q/DQ nodes with NVIDIA's compiler, and show its kernels.
        qdq: how pairs are placed, for what runs in INT8.
    """

    earlier: Any = None
    cache: str | Path | Cache | None = None
    measurements: tuple[Evaluation | Sensitivity | str | Path, ...] = ()
    compile: bool = False
    qdq: QdqOptions = QdqOptions()
