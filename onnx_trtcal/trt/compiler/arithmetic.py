"""Which kernels multiply matrices or convolve, and in which type they do it."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.trt.compiler.kernels import Kernel, Operand

__all__ = ["FLOAT", "FP8", "INT8", "is_attention", "is_library_product", "is_product", "precision", "steps"]

INT8, FP8, FLOAT = "INT8", "FP8", "float"
_TYPES = {"Int8": INT8, "FP8": FP8}

# Kernels of NVIDIA's library, by LayerType.
_LIBRARY = frozenset({"attention", "conv", "correlation", "deconv", "gemm", "gemv", "matmul"})
_FUSED = frozenset({"runtime_function", "runtime_fusion"})
_GENERATED = "kgen"
# Steps in the name of a fused kernel, __myl_CastMulFcAdd: the product, and what dequantizes its operands before it.
_PRODUCTS = frozenset({"Corr", "Deco", "Dot", "Fc", "Gemm", "Matm", "Mma"})
_DEQUANTIZES = frozenset({"Div", "Mul"})
_STEP = re.compile(r"[A-Z][a-z0-9]*")


def steps(kernel: Kernel) -> tuple[str, ...]:
    """The steps that the name of a generated or fused kernel lists; a long list ends with `Etc`."""
    if kernel.kind != _GENERATED and kernel.kind not in _FUSED:
        return ()
    return tuple(_STEP.findall(kernel.name.removeprefix("__myl_")))


def is_attention(kernel: Kernel) -> bool:
    """Whether a kernel does both products of an attention and the Softmax between them."""
    return kernel.kind == _GENERATED and "_mha" in kernel.name


def is_library_product(kernel: Kernel) -> bool:
    """Whether a kernel is one of NVIDIA's library that multiplies or convolves."""
    return kernel.kind in _LIBRARY


def is_product(kernel: Kernel) -> bool:
    """Whether a kernel multiplies matrices or convolves.

    A generated kernel that multiplies and then sums may also be a mean of squares: ask only of kernels made from
    a node that is a product.
    """
    if is_library_product(kernel) or is_attention(kernel):
        return True
    named = steps(kernel)
    if kernel.kind in _FUSED:
        return not _PRODUCTS.isdisjoint(named)
    return any(pair == ("Mul", "Sum") for pair in itertools.pairwise(named))


def precision(kernel: Kernel) -> str:
    """The type in which a product kernel multiplies: INT8, FP8 or float.

    A library kernel multiplies in the type of its operands. A fused kernel whose name has a Mul or Div before the
    product dequantizes its operands first, and a generated one always does, but for attention.
    """
    operands = _operands(kernel)
    types = {operand.dtype for operand in operands}
    if len(types) != 1 or not operands:
        return FLOAT
    if kernel.kind == _GENERATED and not is_attention(kernel):
        return FLOAT
    if kernel.kind in _FUSED:
        named = steps(kernel)
        at = min((index for index, step in enumerate(named) if step in _PRODUCTS), default=len(named))
        if not _DEQUANTIZES.isdisjoint(named[:at]):
            return FLOAT
    return _TYPES.get(types.pop(), FLOAT)


def _operands(kernel: Kernel) -> tuple[Operand, ...]:
    """The factors: all inputs of an attention; else the first input, and the weights or the second input."""
    data = tuple(operand for operand in kernel.inputs if operand.dims and operand.volume > 1)
    if is_attention(kernel):
        return data
    # Next to the weights stand scales and biases, one value per channel.
    stored = [each for each in kernel.constants if len(each.dims) > 1 and each.volume > 1]
    weights = [each for each in stored if len(data) < 2 or each.volume > max(each.dims)]
    if weights:
        return (*data[:1], max(weights, key=lambda each: each.volume))
    return data[:2]
