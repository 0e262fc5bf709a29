"""INT8 calibration for TensorRT, made with ONNX Runtime: no TensorRT and no GPU needed.

    from onnx_trtcal import calibrate

    calibrate("model.onnx", "data/").write_cache("model.calibration.cache")

The names below are the public API; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_trtcal.audit.coverage import check
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.errors import CalibrationError
    from onnx_trtcal.evaluation.evaluate import evaluate
    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.ranking import Sensitivity, sensitivity
    from onnx_trtcal.options import Options, Preprocess
    from onnx_trtcal.pipeline import calibrate
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.quantization import quantize
    from onnx_trtcal.trt.cache import Cache, read_cache, write_cache

__all__ = [
    "Cache",
    "Calibration",
    "CalibrationError",
    "Evaluation",
    "Options",
    "Preprocess",
    "QdqOptions",
    "Sensitivity",
    "calibrate",
    "check",
    "evaluate",
    "quantize",
    "read_cache",
    "sensitivity",
    "write_cache",
]

__version__ = "0.1.0"

_HOMES = {
    "Cache": "trt.cache",
    "Calibration": "calibration",
    "CalibrationError": "errors",
    "Evaluation": "evaluation.comparison",
    "Options": "options",
    "Preprocess": "options",
    "QdqOptions": "qdq.options",
    "Sensitivity": "evaluation.ranking",
    "calibrate": "pipeline",
    "check": "audit.coverage",
    "evaluate": "evaluation.evaluate",
    "quantize": "quantization",
    "read_cache": "trt.cache",
    "sensitivity": "evaluation.ranking",
    "write_cache": "trt.cache",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
