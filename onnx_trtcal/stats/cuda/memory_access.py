"""How memory at an address is read on a CUDA device, by kernels and by the host.

Importing this module imports numba-cuda. ONNX Runtime gives bare addresses; reading them saves an array object,
some 20 us, for every tensor of every batch.
"""

# ruff: noqa: ARG001 (numba passes every intrinsic and its code generator the same arguments)

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import cuda, types

from onnx_trtcal.support.jit import cuda_intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CUDA_MEMORY", "MemoryAccess"]


class MemoryAccess(NamedTuple):
    """Ways to read memory.

    Attributes:
        word: in a kernel, the uint32 at an address.
        half: in a kernel, the uint16 at an address, as uint32.
        from_float16: in a kernel, the float32 of a float16, both as bit patterns.
        as_float: in a kernel, the float32 of a bit pattern.
        copy: on the host, (address, bytes) -> uint8[bytes].
        place: on the host, uint8[bytes] -> (address of a copy on the device, what holds its memory).
    """

    word: Any
    half: Any
    from_float16: Any
    as_float: Any
    copy: Callable[[int, int], np.ndarray]
    place: Callable[[np.ndarray], tuple[int, object]]


def _assembly(builder: Any, code: str, constraints: str, result: Any, argument: Any) -> Any:
    # Without side effects: what is read does not change while a kernel runs, so reads may move ahead of
    # atomic operations.
    inline = ir.InlineAsm(ir.FunctionType(result, [argument.type]), code, constraints, side_effect=False)
    return builder.call(inline, [argument])


@cuda_intrinsic
def _word(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _assembly(builder, "ld.global.nc.u32 $0, [$1];", "=r,l", ir.IntType(32), arguments[0])

    return types.uint32(types.uint64), generate


@cuda_intrinsic
def _half(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        half = _assembly(builder, "ld.global.nc.u16 $0, [$1];", "=h,l", ir.IntType(16), arguments[0])
        return builder.zext(half, ir.IntType(32))

    return types.uint32(types.uint64), generate


@cuda_intrinsic
def _from_float16(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        half = builder.trunc(arguments[0], ir.IntType(16))
        value = _assembly(builder, "cvt.f32.f16 $0, $1;", "=f,h", ir.FloatType(), half)
        return builder.bitcast(value, ir.IntType(32))

    return types.uint32(types.uint32), generate


@cuda_intrinsic
def _as_float(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@dataclass(frozen=True)
class _Bytes:
    """Bytes on the device, as the CUDA array interface describes them."""

    __cuda_array_interface__: dict[str, Any]


def _copy(address: int, size: int) -> np.ndarray:
    if size == 0:
        return np.empty(0, np.uint8)
    interface = {"shape": (size,), "typestr": "|u1", "data": (address, False), "strides": None, "version": 3}
    return np.asarray(cuda.as_cuda_array(_Bytes(interface)).copy_to_host())


def _place(values: np.ndarray) -> tuple[int, object]:
    there = cuda.to_device(values)
    return int(there.__cuda_array_interface__["data"][0]), there


CUDA_MEMORY = MemoryAccess(_word, _half, _from_float16, _as_float, _copy, _place)
