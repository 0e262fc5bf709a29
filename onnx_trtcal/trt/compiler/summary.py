"""An engine in numbers: kernels, bytes moved, and the share of the work that runs in INT8."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.trt.compiler.arithmetic import INT8, is_library_product, precision, steps
from onnx_trtcal.trt.compiler.kernels import FLOATS, Kernel
from onnx_trtcal.trt.compiler.layers import FOLDED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.trt.compiler.layers import Layer

__all__ = ["Summary", "only_converts", "summarize"]

# What a generated kernel does to quantize, dequantize, cast or rearrange: every step of one that only converts.
_CONVERTING = frozenset({"Cast", "Conc", "Div", "Max", "Min", "Move", "Mul", "Resh", "Roun", "Slic", "Tran"})
_CONVERTERS = frozenset({"Cast", "DequantizeLinear", "QuantizeLinear"})
_GENERATED = frozenset({"kgen", "runtime_function", "runtime_fusion"})


@dataclass(frozen=True)
class Summary:
    """An engine in numbers; bytes are those that kernels read and write in one inference, weights aside.

    Attributes:
        kernels: kernels that run in one inference.
        converting: those that only change types or layouts.
        float_bytes: bytes of floating-point tensors, but for `accumulator_bytes`.
        int8_bytes: bytes of INT8 tensors.
        accumulator_bytes: bytes between an INT8 kernel and the one generated kernel that takes its result: this
            compiler logs the two apart, TensorRT 8 to 11 may fuse them.
        layers: layers of the model, those computed from constants aside.
        int8_layers: those that run in INT8.
        macs: multiply-adds of the layers whose shapes are known.
        int8_macs: those done in INT8.
    """

    kernels: int
    converting: int
    float_bytes: int
    int8_bytes: int
    accumulator_bytes: int
    layers: int
    int8_layers: int
    macs: int
    int8_macs: int

    @property
    def bytes_moved(self) -> int:
        """Float and INT8 bytes moved, accumulators aside."""
        return self.float_bytes + self.int8_bytes

    @property
    def int8_share(self) -> float:
        """Share of the multiply-adds in INT8, 0 to 1; 0 where there are none."""
        return self.int8_macs / self.macs if self.macs else 0.0


def summarize(kernels: Sequence[Kernel], layers: Sequence[Layer], ops: Mapping[str, str]) -> Summary:
    """Counts.

    Args:
        kernels: the kernels of an engine.
        layers: the verdicts on the model's layers.
        ops: layer name -> op type of the ONNX node.
    """
    running = [kernel for kernel in kernels if kernel.runs]
    moved = [operand for kernel in running for operand in (*kernel.inputs, *kernel.outputs)]
    accumulators = _accumulators(running)
    floats = [operand for operand in moved if operand.dtype in FLOATS]
    counted = [layer for layer in layers if layer.precision != FOLDED]
    return Summary(
        kernels=len(running),
        converting=sum(only_converts(kernel, ops) for kernel in running),
        float_bytes=sum(each.nbytes for each in floats if each.name not in accumulators),
        int8_bytes=sum(each.nbytes for each in moved if each.dtype == "Int8"),
        accumulator_bytes=sum(each.nbytes for each in floats if each.name in accumulators),
        layers=len(counted),
        int8_layers=sum(layer.int8 for layer in counted),
        macs=sum(layer.macs or 0 for layer in counted),
        int8_macs=sum(layer.macs or 0 for layer in counted if layer.int8),
    )


def only_converts(kernel: Kernel, ops: Mapping[str, str]) -> bool:
    """Whether a kernel only quantizes, dequantizes, casts or changes a layout.

    A kernel made from any other node of the model does that node's work, too; but one that reads constants only
    prepares weights at run time, whichever nodes it names.
    """
    if kernel.kind not in _GENERATED or not _CONVERTING.issuperset(steps(kernel)):
        return False
    return not kernel.inputs or all(ops.get(node) in _CONVERTERS for node in kernel.nodes)


def _accumulators(kernels: Sequence[Kernel]) -> set[str]:
    """Results of INT8 kernels that one generated kernel alone reads, its epilogue."""
    readers: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        for operand in kernel.inputs:
            readers[operand.name].append(kernel)
    return {
        operand.name
        for kernel in kernels
        if is_library_product(kernel) and precision(kernel) == INT8
        for operand in kernel.outputs
        if len(readers[operand.name]) == 1 and readers[operand.name][0].kind in _GENERATED
    }
