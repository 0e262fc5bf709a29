"""Whether the layers that a placement quantizes run in INT8, by NVIDIA's own compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.trt.compiler.compile_model import Compilation, compile_model

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from onnx_trtcal.trt.compiler.layers import Layer
    from onnx_trtcal.trt.compiler.options import CompileOptions

__all__ = ["Verification", "verify"]

_OTHER_COMPILERS = frozenset({"ConvTranspose"})


@dataclass(frozen=True)
class Verification:
    """What NVIDIA's compiler makes of a Q/DQ model that was just written.

    Attributes:
        compilation: the whole verdict.
        int8: the quantized layers that run in INT8.
        lost: those that do not, though they should.
        undecided: those that do not, but that the TensorRT the model is for may run in INT8 nevertheless.
        absent: names of quantized layers that the written model does not have.
    """

    compilation: Compilation
    int8: tuple[Layer, ...]
    lost: tuple[Layer, ...]
    undecided: tuple[Layer, ...]
    absent: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the model builds and every quantized layer runs in INT8, undecided ones aside."""
        return self.compilation.built and not self.lost and not self.absent


def verify(path: Path, quantized: Collection[str], target: str, options: CompileOptions) -> Verification:
    """Compiles a Q/DQ model and looks at the layers that its placement quantized.

    No version of TensorRT for RTX has an INT8 kernel for ConvTranspose, and TensorRT's own compilers have: under
    another target than `rtx` such a layer is undecided.

    Args:
        path: the model's file.
        quantized: names of the layers that the placement quantized; of first outputs where they have none.
        target: what the model was written for, as in `QdqOptions`.
        options: what to build for.

    Raises:
        CompilerMissingError: when the compiler is not installed.
        OptionError: when a shape is missing or does not fit.
    """
    made = compile_model(path, options)
    wanted = [layer for layer in made.layers if layer.name in quantized]
    float_layers = [layer for layer in wanted if not layer.int8]
    undecided = [layer for layer in float_layers if target != "rtx" and layer.op in _OTHER_COMPILERS]
    found = {layer.name for layer in made.layers}
    return Verification(
        compilation=made,
        int8=tuple(layer for layer in wanted if layer.int8),
        lost=tuple(layer for layer in float_layers if layer not in undecided),
        undecided=tuple(undecided),
        absent=tuple(sorted(name for name in quantized if name not in found)) if made.built else (),
    )
