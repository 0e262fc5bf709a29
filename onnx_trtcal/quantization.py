"""The verbs on explicitly quantized models, which TensorRT 8 to 11 build: quantize, lint and dequantize."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.transform import transformed
from onnx_trtcal.improve.equalize.equalize import Equalization, check_equalizable, equalize
from onnx_trtcal.improve.rounding.on_data import check_roundable, round_on_data
from onnx_trtcal.options import DEFAULT_METHOD, Options, with_method
from onnx_trtcal.pipeline import calibrate_for
from onnx_trtcal.qdq.given_weights import GivenWeights
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.scale_source import ScaleSource, find_scales, from_calibration, source_kind
from onnx_trtcal.scales import unseen_warnings
from onnx_trtcal.support.html import html_table
from onnx_trtcal.support.progress_bar import listener_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.improve.rounding.round_model import Rounding
    from onnx_trtcal.qdq.lint.finding import Finding
    from onnx_trtcal.qdq.read.dequantize_model import Dequantized
    from onnx_trtcal.qdq.write.quantize_model import Layer, Quantized
    from onnx_trtcal.support.progress import Listener

__all__ = [
    "Quantization",
    "dequantize",
    "lint",
    "quantize",
    "quantize_calibrated",
    "quantize_equalized",
    "requantized",
    "rounded",
]

# A Q/DQ model has no calibrator of TensorRT's to be faithful to.
_METHOD_ON_DATA = "auto"
_TAKEN = {
    "data": f"method {_METHOD_ON_DATA}: the default of quantize on data",
    "statistics": f"method {DEFAULT_METHOD}: the default on statistics, where {_METHOD_ON_DATA} cannot run the model",
    "cache": "the scales of the cache are taken as they are",
    "calibration": "the scales of the calibration are taken as they are",
}


@dataclass(frozen=True, repr=False)
class Quantization:
    """A Q/DQ model that is not written yet.

    Attributes:
        quantized: the model.
        source: where its scales came from.
        rounding: what rounding by output error did; None where it was not asked for.
        equalization: what evening out channels did; None where it was not asked for.
    """

    quantized: Quantized
    source: ScaleSource
    rounding: Rounding | None = None
    equalization: Equalization | None = None

    def __repr__(self) -> str:
        layers = self.layers
        int8 = sum(not layer.reason for layer in layers)
        return f"<Quantization: {int8} of {len(layers)} layers, scales from {self.source.kind}>"

    def _repr_html_(self) -> str:
        rows = [(layer.name, layer.op, layer.reason or "INT8") for layer in self.layers]
        return html_table(repr(self)[1:-1], ("layer", "op", "runs in"), rows)

    def proto(self) -> onnx.ModelProto:
        """The Q/DQ model in memory."""
        return self.quantized.proto()

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the Q/DQ model; returns the files written.

        Raises:
            CalibrationError: when a file cannot be written.
        """
        return self.quantized.save(path)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every weighted op, in graph order."""
        return self.quantized.layers

    @property
    def reasons(self) -> Counter[str]:
        """How many layers stay in floating point for which reason."""
        return Counter(layer.reason for layer in self.layers if layer.reason)


def quantize(
    model: str | Path | onnx.ModelProto,
    source: Any,
    options: Options = Options(),
    qdq: QdqOptions = QdqOptions(),
    *,
    listener: Listener | None = None,
    transform: Callable[[Any], Any] | None = None,
    progress: bool = False,
) -> Quantization:
    """The model with Q/DQ nodes: what `onnx-trtcal quantize MODEL SOURCE` does, without writing a file.

        >>> from onnx_trtcal import Cache, quantize
        >>> scales = {"input": 0.01, "/fc1/relu/Relu_output_0": 0.03, "/fc2/relu/Relu_output_0": 0.04}
        >>> cache = Cache("TRT-100300-EntropyCalibration2", scales)
        >>> quantization = quantize("models/digits_mlp.onnx", cache)
        >>> [layer.op for layer in quantization.layers if not layer.reason]
        ['Gemm', 'MatMul', 'Gemm']
        >>> [path.name for path in quantization.save("digits_mlp.int8.onnx")]
        ['digits_mlp.int8.onnx']

    Args:
        model: path of a float ONNX file, or such a model in memory.
        source: where the scales come from: data to calibrate on, a statistics file, a calibration cache, also one
            that TensorRT wrote, or a Calibration of this model.
        options: how to calibrate and to solve; without a method it is `auto` on data and `entropy` on statistics.
        qdq: where pairs go and how weights are stored.
        listener: receives messages and progress.
        transform: makes of each element of the data what is fed, as in `calibrate`.
        progress: show a bar, where no listener is given.

    Raises:
        CalibrationError: one of its family; ModelError when no layer can be quantized.
    """
    if transform and source_kind(source) == "data":
        source = transformed(source, transform)
    listener = listener_for(listener, progress=progress)
    kind = source_kind(source)
    if qdq.round:
        check_roundable(source, kind)
    if options.method is None:
        listener.say(_TAKEN[kind])
        options = with_method(options, _METHOD_ON_DATA if kind == "data" else DEFAULT_METHOD)
    equalization = None
    if qdq.equalize == "off":
        found = find_scales(model, source, options, listener, qdq.weight_bits)
    else:
        equalization = equalize(model, source, qdq.equalize, options, qdq, listener=listener)
        found = _calibrated(equalization.model, source, options, listener, qdq.weight_bits)
    rounding = round_on_data(found, source, qdq, listener) if qdq.round else None
    return replace(_quantized(found, qdq, rounding), equalization=equalization)


def quantize_calibrated(
    calibration: Calibration,
    qdq: QdqOptions = QdqOptions(),
) -> Quantization:
    """The model of a calibration with Q/DQ nodes.

    Raises:
        CalibrationError: one of its family; ModelError when no layer can be quantized.
    """
    if qdq.round:
        check_roundable(calibration, "calibration")
    if qdq.equalize != "off":
        check_equalizable(calibration)
    return _quantized(from_calibration(calibration), qdq)


def quantize_equalized(
    equalization: Equalization, data: Any, options: Options, qdq: QdqOptions, listener: Listener
) -> Quantization:
    """What `quantize` makes of a model that was equalized on the same data, by the same options.

    Raises:
        CalibrationError: one of its family; ModelError when no layer can be quantized.
    """
    found = _calibrated(equalization.model, data, options, listener, qdq.weight_bits)
    return replace(_quantized(found, qdq), equalization=equalization)


def requantized(made: Quantization, qdq: QdqOptions) -> Quantization:
    """The same model by the same scales and weights, with its pairs placed by other options.

    Raises:
        ModelError: no layer can be quantized.
    """
    return replace(_quantized(made.source, qdq, made.rounding), equalization=made.equalization)


def rounded(made: Quantization, data: Any, qdq: QdqOptions, listener: Listener) -> Quantization:
    """The same model by the same scales, its weights rounded on the data that it was calibrated on.

    Raises:
        DataError: from reading the data.
        ModelError: only a part of the model runs.
    """
    rounding = round_on_data(made.source, data, qdq, listener)
    return replace(_quantized(made.source, qdq, rounding), equalization=made.equalization)


def dequantize(model: str | Path | onnx.ModelProto, *, symmetric_only: bool = False) -> Dequantized:
    """Takes a Q/DQ model apart into a float model and a scale per tensor: `onnx-trtcal dequantize MODEL`.

    A model that `quantize` made gives back the scales it was made from, to the bit.

        >>> from onnx_trtcal import Cache, dequantize, quantize
        >>> scales = {"input": 0.25, "/fc1/relu/Relu_output_0": 0.5, "/fc2/relu/Relu_output_0": 0.125}
        >>> cache = Cache("TRT-100300-EntropyCalibration2", scales)
        >>> int8 = quantize("models/digits_mlp.onnx", cache).proto()
        >>> dequantize(int8).scales["input"]
        0.25

    Args:
        model: path of any model with Q/DQ pairs (from ModelOpt, QAT, ONNX Runtime or this package), or such a
            model in memory.
        symmetric_only: refuse a tensor whose grid a cache cannot express (uint8, zero-point, several scales),
            rather than cover its range symmetrically.

    Raises:
        ModelError: when the model cannot be loaded, has no pairs, or has pairs without a float counterpart.
    """
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.qdq.read.dequantize_model import dequantize_model

    return dequantize_model(load(model), symmetric_only=symmetric_only)


def lint(model: str | Path | onnx.ModelProto) -> tuple[Finding, ...]:
    """Checks a Q/DQ model against TensorRT's rules; needs no TensorRT and does not run the model.

        >>> from onnx_trtcal import Cache, lint, quantize
        >>> cache = Cache("TRT-100300-EntropyCalibration2", {"input": 0.01})
        >>> [finding.rule for finding in lint(quantize("models/digits_mlp.onnx", cache).proto())]
        []

    Args:
        model: path of a model with Q/DQ nodes, or such a model in memory.

    Returns:
        All findings, errors first, each level in graph order; none when nothing is wrong.

    Raises:
        ModelError: when the file cannot be read, or holds no Q/DQ node and no quantized operator.
    """
    from onnx_trtcal.qdq.lint.lint import lint_model

    return lint_model(model)


def _calibrated(
    model: Model, data: Any, options: Options, listener: Listener, weight_bits: int
) -> ScaleSource:
    """The scales of a model that is loaded already, from data."""
    found = from_calibration(calibrate_for(model, data, options, listener, weight_bits=weight_bits))
    for text in unseen_warnings(found.unseen, found.scales, from_cache=False):
        listener.warn(text)
    return found


def _quantized(source: ScaleSource, qdq: QdqOptions, rounding: Rounding | None = None) -> Quantization:
    from onnx_trtcal.qdq.write.quantize_model import quantize_model

    given = GivenWeights(scales=source.weight_scales) if rounding is None else rounding.given
    # It writes its pairs into a graph of its own: the folded one of the source stays as it is.
    return Quantization(
        quantize_model(source.model, source.scales, qdq, source.unseen, given), source, rounding
    )
