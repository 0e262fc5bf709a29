"""What a setting costs the engine: the share of multiply-adds in floating point, and the bytes that are moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.search.budget import Work
from onnx_trtcal.trt.compiler.build import CompilerMissingError, check_installed
from onnx_trtcal.trt.compiler.compile_model import compile_model
from onnx_trtcal.trt.compiler.options import CompileOptions
from onnx_trtcal.trt.trtexec import dynamic_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.quantization import Quantization

__all__ = ["Cost", "Engine", "compiler_missing", "cost_of", "engine_of"]


@dataclass(frozen=True)
class Cost:
    """What stays in floating point.

    Attributes:
        share: of the multiply-adds, 0 to 1; of the layers, where a shape is not known.
        float_layers: how many Conv, ConvTranspose, Gemm and MatMul.
        layers: how many there are.
    """

    share: float
    float_layers: int
    layers: int

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Cost:
        """A cost from its fields, as they are noted."""
        return Cost(**fields)


@dataclass(frozen=True)
class Engine:
    """What NVIDIA's compiler says of a Q/DQ model; bytes are those of one inference at batch 1, weights aside.

    Attributes:
        kernels: how many run.
        int8_layers: layers that run in INT8.
        float_bytes: bytes of floating-point tensors that are read and written.
        bytes_moved: those of all tensors.
    """

    kernels: int
    int8_layers: int
    float_bytes: int
    bytes_moved: int

    @staticmethod
    def of(fields: Mapping[str, Any]) -> Engine:
        """An engine from its fields, as they are noted."""
        return Engine(**fields)


def cost_of(made: Quantization) -> Cost:
    """What stays in floating point in a quantized model."""
    placement = made.quantized.placement
    layers = {*placement.quantized, *placement.left}
    work = Work(made.source.folded.folded)
    return Cost(work.share(placement.left), len(placement.left), len(layers))


def compiler_missing() -> str:
    """Why bytes are not counted; empty where NVIDIA's compiler is installed."""
    try:
        check_installed()
    except CompilerMissingError as error:
        return f"bytes moved are not counted: {error.what}" + (f" ({error.fix})" if error.fix else "")
    return ""


def engine_of(made: Quantization) -> Engine | None:
    """What NVIDIA's compiler makes of a quantized model; None where it does not build it.

    Raises:
        CompilerMissingError: it is not installed.
    """
    seen = made.source.seen_shapes
    known = {name: each.smallest for name, each in dynamic_shapes(made.source.model.inputs, seen).items()}
    try:
        summary = compile_model(made.proto(), CompileOptions(shapes=known)).summary
    except CalibrationError:
        return (
            None  # dimensions are open that no data has closed, or the model is too large for its file format
        )
    if summary is None:
        return None
    return Engine(summary.kernels, summary.int8_layers, summary.float_bytes, summary.bytes_moved)
