"""The one way the package compiles a hot loop: numba, without the GIL, whose machine code is kept for the next process.

A process that finds machine code runs it without numba, which takes most of a second to import and to load what it
keeps itself. So nothing here imports numba before something has to be compiled, and modules of kernels need not either.

numba has no type hints: its decorators, those for CUDA among them, are typed here once.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.code_cache import CodeCache
from onnx_trtcal.support.machine_code import kind_of, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx_trtcal.support.machine_code import Kind, MachineCode

__all__ = [
    "Kernel",
    "compiled",
    "cuda_function",
    "cuda_intrinsic",
    "cuda_kernel",
    "intrinsic",
    "part",
]

logger = logging.getLogger(__name__)


class _Part:
    """A function that compiled ones may call; from Python it is the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    @functools.cached_property
    def _dispatcher(self) -> Any:
        from onnx_trtcal.support.numba_compiler import dispatcher

        return dispatcher(self.function)

    @property
    def _numba_type_(self) -> Any:
        """What numba, which asks every object for that, takes it for."""
        return self._dispatcher._numba_type_


class Kernel(_Part):
    """A function that is compiled for the types of the arguments that it is called with.

    Attributes:
        loaded: what runs where the arguments are of these types.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.loaded: dict[tuple[Kind, ...], Callable[..., Any]] = {}
        self._loading = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Runs what is loaded for such arguments, which is compiled where nothing is kept."""
        kinds = tuple(map(kind_of, arguments))
        run = self.loaded.get(kinds) or self._load(kinds)
        return run(*arguments)

    def _load(self, kinds: tuple[Kind, ...]) -> Callable[..., Any]:
        with self._loading:
            if kinds not in self.loaded:
                self.loaded[kinds] = self.function if compiling_is_off() else self._machine_code(kinds)
            return self.loaded[kinds]

    def _machine_code(self, kinds: Sequence[Kind]) -> Callable[..., Any]:
        cache = CodeCache(self.function, kinds)
        code = cache.read()
        run = _loaded(code, kinds)
        if code is None or (code.symbol and run is None):
            from onnx_trtcal.support.numba_compiler import machine_code

            if compiling_is_off():  # numba also reads .numba_config.yaml in the working folder
                return self.function
            code = machine_code(self._dispatcher, kinds)
            run = _loaded(code, kinds)
            # What failed now may succeed in the next process.
            if code is not None and (run or not code.symbol):
                cache.write(code)
        if run is None:
            from onnx_trtcal.support.numba_cache import cached_dispatcher

            run = cached_dispatcher(self.function)
        return run


class _Intrinsic:
    """A function of compiled loops that emits LLVM code."""

    def __init__(self, signature: str, emit: Callable[..., Any]) -> None:
        self.signature = signature
        self.__wrapped__ = emit

    def __call__(self, *_arguments: Any) -> Any:
        """Python comes here where a file of the working folder, which numba reads, keeps it from compiling."""
        raise _off()

    @functools.cached_property
    def _typed(self) -> tuple[Any, Any]:
        from onnx_trtcal.support.numba_compiler import typed_intrinsic

        return typed_intrinsic(self.signature, self.__wrapped__)

    @property
    def _numba_type_(self) -> Any:
        return self._typed[1]


def compiled(function: Callable[..., Any]) -> Kernel:
    """Compiles `function` at its first call for the argument types of that call; usable as a decorator.

    It takes contiguous arrays, Python's int, float, bool and None, and NumPy's int64, uint64 and float64, all by
    position and none by keyword. It returns scalars, and makes no arrays: those that it works in are arguments, too. It
    may call other functions that are `compiled`, and each `part`.

    The machine code is kept beside the module, else in the user's cache directory (or in `NUMBA_CACHE_DIR`, which
    takes precedence), else in a folder of the user's own among the temporary files. Where none of them can be
    written, it is compiled once per process. A change of what the function, and those that it calls, say or of a
    constant that they use has it compiled again.

    Floating point follows IEEE 754 to the letter: nothing is reordered, a division by zero gives Inf or NaN.

    Raises:
        TypeError: by a call with something else, or with another number of arguments.
        OverflowError: by a call with an int that 64 bits do not hold.
        ArithmeticError: by a call in which the function fails, such as by dividing whole numbers by zero.
        Exception: numba's, by a call for whose types it cannot be compiled, such as one that has it write to a
            read-only array.
    """
    return Kernel(function)


def part(function: Callable[..., Any]) -> Any:
    """Compiles a function that only compiled functions call, as a part of them; a decorator."""
    return _Part(function)


def intrinsic(signature: str, emit: Callable[..., Any]) -> Any:
    """Makes a function of compiled loops from one that emits LLVM code.

    Args:
        signature: of one argument, in numba's words, such as `uint32(float32)`.
        emit: returns the LLVM value, given numba's context, a builder, the signature and the arguments.

    Raises:
        OptionError: where the environment keeps numba from compiling: Python cannot run such a function.
    """
    if compiling_is_off():
        raise _off()
    return _Intrinsic(signature, emit)


def _off() -> OptionError:
    return OptionError(
        "NUMBA_DISABLE_JIT is set in the environment, and activations are counted by compiled code only",
        fix="unset it",
    )


def compiling_is_off() -> bool:
    """Whether the environment keeps numba from compiling, as numba reads it."""
    # While another thread imports numba, it has no `config` at first.
    config = getattr(sys.modules.get("numba"), "config", None)
    if config is not None:
        return bool(config.DISABLE_JIT)
    try:
        return bool(int(os.environ.get("NUMBA_DISABLE_JIT") or 0))
    except ValueError:
        return False


def _loaded(code: MachineCode | None, kinds: Sequence[Kind]) -> Callable[..., Any] | None:
    """What runs the code; None where it cannot be run without numba."""
    if code is None or not code.symbol:
        return None
    try:
        return load(code, kinds)
    except Exception as error:  # noqa: BLE001 (llvmlite answers what a platform lacks in many ways)
        logger.debug("machine code is not loaded: %s", error)
        return None


def cuda_kernel(function: Callable[..., Any]) -> Any:
    """Compiles a CUDA kernel at its first launch; a decorator."""
    from numba import cuda

    return cuda.jit(function)


def cuda_function(function: Callable[..., Any]) -> Any:
    """Compiles a function that CUDA kernels call; a decorator."""
    from numba import cuda

    return cuda.jit(device=True)(function)


def cuda_intrinsic(function: Callable[..., Any]) -> Any:
    """Makes a function of CUDA kernels from one that emits LLVM code; a decorator, not for the simulator."""
    from numba.cuda.extending import intrinsic

    return intrinsic(function)
