"""quantize(): the calibration as an explicitly quantized model, which TensorRT 8 to 11 builds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.options import Options
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.scale_source import ScaleSource, find_scales, from_calibration

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.qdq.write.quantize_model import Quantized
    from onnx_trtcal.support.progress import Listener

__all__ = ["Layer", "Quantization", "quantize", "quantize_calibrated"]


@dataclass(frozen=True)
class Layer:
    """A weighted op.

    Attributes:
        name: the node's name, or its first output where it has none.
        op: its op type.
        reason: why it stays in floating point; empty when it is quantized.
    """

    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class Quantization:
    """A Q/DQ model that is not written yet.

    Attributes:
        quantized: the model.
        source: where its scales came from.
    """

    quantized: Quantized
    source: ScaleSource

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
        placement = self.quantized.placement
        wanted = {**dict.fromkeys(placement.quantized, ""), **placement.left}
        return tuple(
            Layer(node.name or node.outputs[0].name, node.op, wanted[node.outputs[0].name])
            for node in self.quantized.graph.nodes
            if node.outputs and node.outputs[0].name in wanted
        )

    @property
    def reasons(self) -> Counter[str]:
        """How many layers stay in floating point for which reason."""
        return Counter(layer.reason for layer in self.layers if layer.reason)


def quantize(
    model: str | Path | onnx.ModelProto,
    source: Any,
    options: Options = Options(),
    qdq: QdqOptions = QdqOptions(),  # noqa: B008 (frozen)
    *,
    listener: Listener | None = None,
) -> Quantization:
    """The model with Q/DQ nodes: what `onnx-trtcal quantize MODEL SOURCE` does, without writing a file.

        quantize("model.onnx", "model.calibration.cache").save("model.int8.onnx")

    Args:
        model: path of a float ONNX file, or such a model in memory.
        source: where the scales come from: data to calibrate on, a statistics file, or a calibration cache,
            also one that TensorRT wrote.
        options: how to calibrate and to solve.
        qdq: where pairs go and how weights are stored.
        listener: receives messages and progress.

    Raises:
        CalibrationError: one of its family; ModelError when no layer can be quantized.
    """
    return _quantized(find_scales(model, source, options, listener), qdq)


def quantize_calibrated(
    calibration: Calibration,
    qdq: QdqOptions = QdqOptions(),  # noqa: B008 (frozen)
) -> Quantization:
    """The model of a calibration with Q/DQ nodes.

    Raises:
        CalibrationError: one of its family; ModelError when no layer can be quantized.
    """
    return _quantized(from_calibration(calibration), qdq)


def _quantized(source: ScaleSource, qdq: QdqOptions) -> Quantization:
    from onnx_trtcal.qdq.write.quantize_model import quantize_model

    # It writes its pairs into a graph of its own: the folded one of the source stays as it is.
    return Quantization(quantize_model(source.model, source.scales, qdq), source)
