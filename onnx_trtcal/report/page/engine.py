"""What NVIDIA's compiler makes of the quantized model, as facts of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.report.page.facts import Engine, EngineKernel, Number
from onnx_trtcal.report.page.words import percent, size
from onnx_trtcal.trt.compiler.arithmetic import is_product, precision

if TYPE_CHECKING:
    from onnx_trtcal.trt.compiler.compile_model import Compilation
    from onnx_trtcal.trt.compiler.kernels import Kernel

__all__ = ["engine_of"]


def engine_of(made: Compilation) -> Engine:
    """The engine: its kernels in running order, and what moves between them."""
    title = f"TensorRT for RTX {made.version}, {made.gpu.upper()}" if made.version else "NVIDIA's compiler"
    return Engine(
        title=title,
        built=made.built,
        problems=tuple(
            f"{f'{each.node}: ' if each.node else ''}{each.what}; {each.fix}" for each in made.problems
        ),
        numbers=_numbers(made),
        kernels=tuple(_kernel(each) for each in made.kernels if each.runs),
        lost=tuple((layer.name, layer.why) for layer in made.lost),
    )


def _numbers(made: Compilation) -> tuple[Number, ...]:
    count = made.summary
    if count is None:
        return ()
    macs = f"{percent(count.int8_share)} of the multiply-adds" if count.macs else ""
    return (
        Number("layers in INT8", f"{count.int8_layers} of {count.layers}", macs),
        Number("kernels", f"{count.kernels}", f"{count.converting} only convert"),
        Number("moved as INT8", size(count.int8_bytes), "in one inference"),
        Number("moved as float", size(count.float_bytes), "in one inference"),
    )


def _kernel(kernel: Kernel) -> EngineKernel:
    moved = sum(operand.nbytes for operand in (*kernel.inputs, *kernel.outputs))
    return EngineKernel(kernel.name, kernel.kind, _types(kernel), moved, kernel.nodes)


def _types(kernel: Kernel) -> str:
    """What it multiplies in; of other kernels, the types that they read and write."""
    if is_product(kernel):
        return precision(kernel)
    types = dict.fromkeys(each.dtype for each in (*kernel.inputs, *kernel.outputs) if each.volume > 1)
    return ", ".join(types) or "–"
