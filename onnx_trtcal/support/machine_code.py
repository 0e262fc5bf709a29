"""Machine code of a kernel as numba made it, and how to run it without numba: through LLVM and ctypes.

numba's functions take every argument as numbers and addresses, an array as several of them, and write what they
return to an address. They need nothing of numba as long as they make no arrays and raise nothing.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["SCALARS", "Kind", "MachineCode", "address_of", "kind_of", "load", "parameters"]

Kind = tuple[np.dtype, int, bool] | str
"""Of an argument: an array's dtype, number of axes and whether it may be written to, or a name in SCALARS."""

SCALARS: dict[str, Any] = {
    "int64": ctypes.c_int64,
    "uint64": ctypes.c_uint64,
    "float64": ctypes.c_double,
    "boolean": ctypes.c_bool,
    "none": ctypes.c_void_p,
}

_KINDS: dict[type, str] = {
    int: "int64",
    np.int64: "int64",
    np.uint64: "uint64",
    float: "float64",
    np.float64: "float64",
    bool: "boolean",
    type(None): "none",
}
_USABLE = 0x101  # NumPy's flags of an array that is contiguous in row-major order, and aligned
_WRITABLE = 0x400  # its flag of one that may be written to
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_ELF, _MACH_O, _COFF_X86, _COFF_ARM = b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\x64\x86", b"\x64\xaa"
_OBJECTS = {"darwin": (_MACH_O,), "win32": (_ELF, _COFF_X86, _COFF_ARM)}.get(sys.platform, (_ELF,))
"""What object files begin with. On Windows, llvmlite makes them for ELF, where LLVM can load nothing else."""
_RETURNED = (0, -2)  # numba's codes for a value and for None; others are of exceptions


@dataclass(frozen=True)
class MachineCode:
    """A function in an object file.

    Attributes:
        symbol: its name there; empty where numba has to run it.
        returns: names in SCALARS, of what it returns.
        as_tuple: whether it returns a tuple of that.
        data: the object file.
    """

    symbol: str
    returns: tuple[str, ...]
    as_tuple: bool
    data: bytes

    @classmethod
    def none(cls) -> MachineCode:
        """What stands for a function that numba has to run."""
        return cls("", (), as_tuple=False, data=b"")


def kind_of(argument: Any) -> Kind:
    """What decides which machine code an argument is for.

    Raises:
        TypeError: where it is not something that kernels take.
        OverflowError: where it is a whole number that int64 cannot hold.
    """
    kind = _KINDS.get(type(argument))
    if kind is not None:
        if kind == "int64" and not _LOWEST <= argument <= _HIGHEST:
            raise OverflowError(f"kernels take whole numbers of 64 bits, not {argument}")
        return kind
    if not isinstance(argument, np.ndarray):
        raise TypeError(f"kernels take no {type(argument).__name__}")
    flags = argument.flags.num
    if flags & _USABLE != _USABLE:
        raise TypeError("kernels take contiguous, aligned arrays")
    return argument.dtype, argument.ndim, flags & _WRITABLE != 0


def load(code: MachineCode, kinds: Sequence[Kind]) -> Callable[..., Any]:
    """Makes machine code a function of Python; it runs without the GIL.

    Raises:
        Exception: of many kinds, where LLVM cannot load it here.
    """
    if not code.data.startswith(_OBJECTS):
        raise ValueError("it is no object file of this platform")  # LLVM would end the process
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine()
    )
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.data))
    engine.finalize_object()
    address = engine.get_function_address(code.symbol)
    if not address:
        raise LookupError(f"there is no {code.symbol} in it")
    engine.detach()  # it stays: a thread may be at work in it while Python takes itself down
    return _Native(address, code, kinds)


class _Native:
    """A function in memory, as Python calls it.

    Args:
        address: where it is.
        code: what it returns.
        kinds: of its arguments.
    """

    def __init__(self, address: int, code: MachineCode, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        self._as_tuple = code.as_tuple
        self._names = [f"of_{k}" for k in range(len(code.returns))]
        fields = [(name, SCALARS[kind]) for name, kind in zip(self._names, code.returns, strict=True)]
        self._result = type("Result", (ctypes.Structure,), {"_fields_": fields})
        taken = [each for kind in kinds for each in parameters(kind)]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *taken)
        self._function = prototype(address)

    def __call__(self, *arguments: Any) -> Any:
        result, error = self._result(), ctypes.c_void_p()
        flat: list[Any] = []
        for argument, kind in zip(arguments, self._kinds, strict=True):
            if kind == "uint64" or kind == "int64":
                flat.append(int(argument))
            elif isinstance(kind, str):
                flat.append(argument)
            else:
                flat += None, None, argument.size, argument.itemsize, address_of(argument)
                flat += argument.shape
                flat += argument.strides
        status = self._function(ctypes.byref(result), ctypes.byref(error), *flat)
        if status not in _RETURNED:
            raise ArithmeticError("a kernel was given what it cannot work with")
        if self._as_tuple:
            return tuple([getattr(result, name) for name in self._names])
        return result.of_0


def parameters(kind: Kind) -> list[Any]:
    """The types, as ctypes has them, of what numba passes for an argument."""
    if isinstance(kind, str):
        return [SCALARS[kind]]
    size = ctypes.c_int64
    # The owner of an array's memory, twice; its size, the bytes of an item, its address, shape and strides.
    return [ctypes.c_void_p, ctypes.c_void_p, size, size, ctypes.c_void_p, *[size] * (2 * kind[1])]


def address_of(array: np.ndarray) -> int:
    """The address of an array's first value.

    It follows the header that CPython's objects have; NumPy's own ways to it take ten times as long.
    """
    if _IS_KNOWN:
        return ctypes.c_void_p.from_address(id(array) + object.__basicsize__).value or 0
    return array.ctypes.data


def _is_known() -> bool:
    if sys.implementation.name != "cpython" or np.ndarray.__basicsize__ < object.__basicsize__ + 8:
        return False
    array = np.zeros(2)
    return ctypes.c_void_p.from_address(id(array) + object.__basicsize__).value == array.ctypes.data


_IS_KNOWN = _is_known()
