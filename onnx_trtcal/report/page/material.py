"""What a page is made from: scales and whatever else is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.qdq.options import QdqOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.audit.coverage import Coverage
    from onnx_trtcal.evaluation.end_result import EndResult
    from onnx_trtcal.options import Options
    from onnx_trtcal.quantization import Quantization
    from onnx_trtcal.report.page.measured import Measured, Ranked
    from onnx_trtcal.scale_source import ScaleSource
    from onnx_trtcal.trt.cache import Cache
    from onnx_trtcal.trt.compiler.compile_model import Compilation
    from onnx_trtcal.tuning.tuning import Tuning

__all__ = ["Material", "Paths"]


@dataclass(frozen=True)
class Paths:
    """Files by the names that commands on the page use; empty where there is none.

    Attributes:
        model: the float model.
        stats: the statistics that the scales come from.
        earlier: the statistics of the run before, for what moved.
        cache: a calibration cache of the scales.
        qdq: a Q/DQ model of the scales.
        data: what was calibrated on or measured on.
        written: the files that the run wrote, with their sizes in bytes.
    """

    model: str
    stats: str = ""
    earlier: str = ""
    cache: str = ""
    qdq: str = ""
    data: tuple[str, ...] = ()
    written: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Material:
    """Scales and what is known of them.

    Attributes:
        source: the scales, the model, and what is behind them.
        paths: files by name.
        options: how the data of `paths` is fed; None where no data is named.
        qdq: how pairs are placed where nothing is quantized yet.
        made: the Q/DQ model, where one was made of the scales.
        earlier: the scales of the run before.
        cache: a cache beside the scales.
        coverage: how well that cache covers the model.
        measured: FP32 against INT8, tensor by tensor.
        ranked: the groups by the damage that INT8 does there.
        end_result: a look at the outputs on a few samples.
        compilation: the engine that NVIDIA's compiler makes of the Q/DQ model.
        tuning: what `tune` tried.
        precisions: node name -> `int8` or `fp16`, of a Q/DQ model that another tool made; None where none is at hand.
    """

    source: ScaleSource
    paths: Paths
    options: Options | None = None
    qdq: QdqOptions = field(default_factory=QdqOptions)
    made: Quantization | None = None
    earlier: ScaleSource | None = None
    cache: Cache | None = None
    coverage: Coverage | None = None
    measured: Measured | None = None
    ranked: Ranked | None = None
    end_result: EndResult | None = None
    compilation: Compilation | None = None
    tuning: Tuning | None = None
    precisions: Mapping[str, str] | None = None
