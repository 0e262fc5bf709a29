"""numba's part in kernels: their types, and the machine code that it makes of them.

Importing this module imports numba: import it when something has to be compiled.
"""

from __future__ import annotations

import ctypes
import logging
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import numba
import numba.extending
from numba import types
from numba.core import sigutils
from numba.core.registry import cpu_target

from onnx_trtcal.support.machine_code import SCALARS, MachineCode, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx_trtcal.support.machine_code import Kind

__all__ = ["dispatcher", "machine_code", "typed_intrinsic"]

logger = logging.getLogger(__name__)

_NAMES = {getattr(types, name): name for name in SCALARS}
_LLVM = {
    ctypes.c_void_p: "ptr",
    ctypes.c_int64: "i64",
    ctypes.c_uint64: "i64",
    ctypes.c_double: "double",
    ctypes.c_bool: "i8",
}


def dispatcher(function: Callable[..., Any]) -> Any:
    """What compiles a function to be called by others and by address, without arrays that numba would have to free."""
    return numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)(
        function
    )


def typed_intrinsic(signature: str, emit: Callable[..., Any]) -> tuple[Any, Any]:
    """A function of compiled loops that emits LLVM code, which has to live as long as its type; and that."""
    arguments, returned = sigutils.normalize_signature(signature)
    typed = returned(*arguments)

    def typing(_context: Any, _argument: Any) -> Any:
        return typed, emit

    made = numba.extending.intrinsic(typing)
    context = cpu_target.typing_context
    context.refresh()
    return made, context.resolve_value_type(made)


def machine_code(dispatcher: Any, kinds: Sequence[Kind]) -> MachineCode | None:
    """Compiles a function for arguments of these kinds.

    Returns:
        `MachineCode.none()` where it needs more than LLVM's own functions, is not called as expected, or returns
        something that is not in SCALARS; None where it is not compiled, for whatever reason.
    """
    try:
        arguments = tuple(map(_numba_type, kinds))
        dispatcher.compile(arguments)
        result = dispatcher.overloads[arguments]
        _, _, (data, bitcode) = result.library.serialize_using_object_code()
        returned = result.signature.return_type
        as_tuple = isinstance(returned, types.BaseTuple)
        parts = returned if as_tuple else (returned,)
        symbol = result.fndesc.llvm_func_name
        if unknown := [each for each in parts if each not in _NAMES]:
            reason = f"it returns {unknown}"
        else:
            reason = _reason_against(llvm.parse_bitcode(bitcode), symbol, kinds)
    except Exception as error:  # noqa: BLE001 (another version of numba may have other insides)
        logger.debug("%s is left to numba: %r", dispatcher.__qualname__, error)
        return None
    if reason:
        logger.debug("%s needs numba to run: %s", dispatcher.__qualname__, reason)
        return MachineCode.none()
    return MachineCode(symbol, tuple(_NAMES[each] for each in parts), as_tuple, bytes(data))


def _numba_type(kind: Kind) -> Any:
    if isinstance(kind, str):
        return getattr(types, kind)
    dtype, axes, writable = kind
    return types.Array(numba.from_dtype(dtype), axes, "C", readonly=not writable)


def _reason_against(module: Any, symbol: str, kinds: Sequence[Kind]) -> str:
    """Why a function cannot be run without numba; empty where it can."""
    outside = [each.name for each in (*module.functions, *module.global_variables) if each.is_declaration]
    needed = [name for name in outside if not name.startswith("llvm.")]
    if needed:
        return f"it uses {', '.join(needed)}"
    expected = ["ptr", "ptr", *(_LLVM[each] for kind in kinds for each in parameters(kind))]
    got = [str(each.type) for each in module.get_function(symbol).arguments]
    # Before LLVM 15, a pointer said to what.
    if expected != ["ptr" if name.endswith("*") else name for name in got]:
        return f"it takes {', '.join(got)}"
    return ""
