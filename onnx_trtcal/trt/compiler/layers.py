"""What became of every layer of a model: INT8, or floating point and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import listed
from onnx_trtcal.trt.compiler.arithmetic import (
    FLOAT,
    FP8,
    INT8,
    is_attention,
    is_library_product,
    is_product,
    precision,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.trt.compiler.kernels import Kernel
    from onnx_trtcal.trt.compiler.model_layers import ModelLayer

__all__ = ["FOLDED", "Layer", "find_layers"]

FOLDED = "constant"
_EIGHT_BITS = {INT8: "", FP8: "its Q/DQ pairs are FP8"}


@dataclass(frozen=True)
class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul of the model, as it was compiled.

    Attributes:
        name: the node's name, or its first output where it has none.
        op: its op type.
        precision: INT8, FP8 or float, what it multiplies in; `constant` for one computed at build time.
        why: why it is not in INT8; empty when it is.
        has_pairs: whether both its operands carry Q/DQ pairs.
        macs: multiply-adds of one inference; None where shapes are unknown.
        kernels: the kernels that multiply for it, or, where none does for it alone, those made from it.
    """

    name: str
    op: str
    precision: str
    why: str
    has_pairs: bool
    macs: int | None
    kernels: tuple[str, ...]

    @property
    def int8(self) -> bool:
        """Whether it multiplies in INT8."""
        return self.precision == INT8

    @property
    def lost(self) -> bool:
        """Whether it multiplies in floating point in spite of its Q/DQ pairs."""
        return self.has_pairs and self.precision == FLOAT


def find_layers(stated: Sequence[ModelLayer], kernels: Sequence[Kernel]) -> tuple[Layer, ...]:
    """The verdict on every layer of a model, by the kernels of its engine."""
    made: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        for node in kernel.nodes if kernel.runs else ():
            made.setdefault(node, []).append(kernel)
    return tuple(_layer(each, made.get(each.layer, [])) for each in stated)


def _layer(stated: ModelLayer, made: Sequence[Kernel]) -> Layer:
    multiplying = _multiplying(stated, made)
    if stated.constant and not multiplying:
        found, why = FOLDED, "computed from constants when the engine is built"
    else:
        types = {precision(kernel) for kernel in multiplying}
        found = types.pop() if len(types) == 1 else FLOAT
        why = _why(stated, multiplying, made) if found == FLOAT else _EIGHT_BITS[found]
    named = tuple(kernel.name for kernel in multiplying or made)
    return Layer(stated.name, stated.op, found, why, stated.has_pairs, _macs(stated, multiplying), named)


def _macs(stated: ModelLayer, multiplying: Sequence[Kernel]) -> int | None:
    """The layer's multiply-adds; where ONNX's shape inference falls silent, by the shapes of its own kernel."""
    if stated.macs is not None or stated.depth is None or not multiplying:
        return stated.macs
    kernel = multiplying[0]
    counted = kernel.inputs if stated.op == "ConvTranspose" else kernel.outputs
    alone = len(multiplying) == 1 and kernel.name == stated.layer and counted
    return stated.depth * counted[0].volume if alone else None


def _multiplying(stated: ModelLayer, made: Sequence[Kernel]) -> list[Kernel]:
    """The kernels that multiply for a node: its own, or those that it was fused into.

    A node is also named by kernels that dequantize, add its bias, or multiply for the node behind it.
    """
    multiplying = [kernel for kernel in made if is_product(kernel)]
    own = [each for each in multiplying if stated.layer in each.name.split("+")]
    return own if own and stated.unique else multiplying


def _why(stated: ModelLayer, multiplying: Sequence[Kernel], made: Sequence[Kernel]) -> str:
    if not stated.has_pairs:
        return f"no Q/DQ pair on {stated.lacking}"
    if stated.fault:
        return stated.fault
    if stated.op == "ConvTranspose":
        return "this compiler has no INT8 kernel for ConvTranspose"
    if not made:
        return "no kernel is made from it"
    attention = next((kernel for kernel in multiplying if is_attention(kernel)), None)
    if attention is not None:
        return f"attention: fused with {_others(stated, attention)} in {_types(attention)}"
    return _dequantized(stated, multiplying or made)


def _dequantized(stated: ModelLayer, kernels: Sequence[Kernel]) -> str:
    kernel = next((each for each in kernels if precision(each) == FLOAT), kernels[0])
    if is_library_product(kernel) or "Fc" in steps(kernel) or "Corr" in steps(kernel):
        return f"dequantized first: {kernel.name} reads {_types(kernel)}"
    return f"fused with {_others(stated, kernel)}: {kernel.name} dequantizes and multiplies in floating point"


def _others(stated: ModelLayer, kernel: Kernel) -> str:
    others = [node for node in kernel.nodes if node != stated.layer]
    return listed(others) if others else "nothing else"


def _types(kernel: Kernel) -> str:
    large = [each for each in (*kernel.inputs, *kernel.constants) if each.volume > 1 and len(each.dims) > 1]
    return " and ".join(dict.fromkeys(operand.dtype for operand in large[:2]))
