"""A Q/DQ model that another tool made, as a scale source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.scale_source import ScaleSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx_trtcal.options import Options

__all__ = ["source_of_quantized"]


def source_of_quantized(
    model: str | Path, quantized: str | Path, options: Options
) -> tuple[ScaleSource, Mapping[str, str]]:
    """The scales that a Q/DQ model holds, and what its nodes run in.

    Args:
        model: the float model.
        quantized: the Q/DQ model of it.
        options: `ort_custom_ops`.
    """
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.prepared import fold_model
    from onnx_trtcal.qdq.read.dequantize_model import dequantize_model

    taken = dequantize_model(load(quantized, options.ort_custom_ops))
    folded = fold_model(load(model, options.ort_custom_ops))
    return ScaleSource(folded, taken.scales, "cache"), taken.precisions
