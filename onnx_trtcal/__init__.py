"""INT8 calibration for TensorRT, made with ONNX Runtime: no TensorRT and no GPU needed.

    from onnx_trtcal import calibrate

    calibrate("model.onnx", "data/").write_cache("model.calibration.cache")

Every verb of the command line is a function of the same name here. The names below are the public API; each is
imported when it is first used.
"""

from __future__ import annotations

import importlib

# The module `typing` takes time to import, in which an interrupt would be a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from onnx_trtcal.audit.coverage import Coverage, check
    from onnx_trtcal.audit.parser_coverage import ParserCoverage, check_parser
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.cluster.options import ClusterOptions
    from onnx_trtcal.cluster.run import calibrate_on_cluster, collect_on_cluster
    from onnx_trtcal.counting.collect import collect
    from onnx_trtcal.data.shard import Shard
    from onnx_trtcal.errors import CalibrationError
    from onnx_trtcal.evaluation.comparison import Evaluation
    from onnx_trtcal.evaluation.end_result import EndResult, check_end_result
    from onnx_trtcal.evaluation.evaluate import evaluate
    from onnx_trtcal.evaluation.ranking import Sensitivity, sensitivity
    from onnx_trtcal.evaluation.request import EvaluationOptions, SensitivityOptions
    from onnx_trtcal.figures.figure import Figure
    from onnx_trtcal.improve.equalize.equalize import Equalization, equalize
    from onnx_trtcal.options import Options, Preprocess
    from onnx_trtcal.pipeline import calibrate
    from onnx_trtcal.qdq.lint.finding import Finding
    from onnx_trtcal.qdq.options import QdqOptions
    from onnx_trtcal.qdq.read.dequantize_model import Dequantized
    from onnx_trtcal.quantization import Quantization, dequantize, lint, quantize
    from onnx_trtcal.report.page.options import ReportOptions
    from onnx_trtcal.report.page.write import write_report
    from onnx_trtcal.solving import compare, solve
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.stats.merging import merge
    from onnx_trtcal.stats.store import load_statistics, save_statistics
    from onnx_trtcal.trt.cache import Cache, read_cache, write_cache
    from onnx_trtcal.trt.cache_ops import diff_caches, merge_caches, rename_tensors, set_cache_version
    from onnx_trtcal.trt.compiler.compile_model import Compilation, compile_model
    from onnx_trtcal.trt.compiler.options import CompileOptions
    from onnx_trtcal.tuning.options import TuneOptions
    from onnx_trtcal.tuning.tune import tune
    from onnx_trtcal.tuning.tuning import Tuning

__all__ = [
    "Cache",
    "Calibration",
    "CalibrationError",
    "ClusterOptions",
    "Collection",
    "Compilation",
    "CompileOptions",
    "Coverage",
    "Dequantized",
    "EndResult",
    "Equalization",
    "Evaluation",
    "EvaluationOptions",
    "Figure",
    "Finding",
    "Options",
    "ParserCoverage",
    "Preprocess",
    "QdqOptions",
    "Quantization",
    "ReportOptions",
    "Sensitivity",
    "SensitivityOptions",
    "Shard",
    "TuneOptions",
    "Tuning",
    "calibrate",
    "calibrate_on_cluster",
    "check",
    "check_end_result",
    "check_parser",
    "collect",
    "collect_on_cluster",
    "compare",
    "compile_model",
    "dequantize",
    "diff_caches",
    "equalize",
    "evaluate",
    "lint",
    "load_statistics",
    "merge",
    "merge_caches",
    "quantize",
    "read_cache",
    "rename_tensors",
    "save_statistics",
    "sensitivity",
    "set_cache_version",
    "solve",
    "tune",
    "write_cache",
    "write_report",
]

__version__ = "0.1.0"

# No public name is that of a module directly in this package: importing the module would put it in the name's place.
_HOMES = {
    "Cache": "trt.cache",
    "Calibration": "calibration",
    "CalibrationError": "errors",
    "ClusterOptions": "cluster.options",
    "Collection": "stats.collection",
    "Compilation": "trt.compiler.compile_model",
    "CompileOptions": "trt.compiler.options",
    "Coverage": "audit.coverage",
    "Dequantized": "qdq.read.dequantize_model",
    "EndResult": "evaluation.end_result",
    "Equalization": "improve.equalize.equalize",
    "Evaluation": "evaluation.comparison",
    "EvaluationOptions": "evaluation.request",
    "Figure": "figures.figure",
    "Finding": "qdq.lint.finding",
    "Options": "options",
    "ParserCoverage": "audit.parser_coverage",
    "Preprocess": "options",
    "QdqOptions": "qdq.options",
    "Quantization": "quantization",
    "ReportOptions": "report.page.options",
    "Sensitivity": "evaluation.ranking",
    "SensitivityOptions": "evaluation.request",
    "Shard": "data.shard",
    "TuneOptions": "tuning.options",
    "Tuning": "tuning.tuning",
    "calibrate": "pipeline",
    "calibrate_on_cluster": "cluster.run",
    "check": "audit.coverage",
    "check_end_result": "evaluation.end_result",
    "check_parser": "audit.parser_coverage",
    "collect": "counting.collect",
    "collect_on_cluster": "cluster.run",
    "compare": "solving",
    "compile_model": "trt.compiler.compile_model",
    "dequantize": "quantization",
    "diff_caches": "trt.cache_ops",
    "equalize": "improve.equalize.equalize",
    "evaluate": "evaluation.evaluate",
    "lint": "quantization",
    "load_statistics": "stats.store",
    "merge": "stats.merging",
    "merge_caches": "trt.cache_ops",
    "quantize": "quantization",
    "read_cache": "trt.cache",
    "rename_tensors": "trt.cache_ops",
    "save_statistics": "stats.store",
    "sensitivity": "evaluation.ranking",
    "set_cache_version": "trt.cache_ops",
    "solve": "solving",
    "tune": "tuning.tune",
    "write_cache": "trt.cache",
    "write_report": "report.page.write",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
