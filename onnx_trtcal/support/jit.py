"""The one way the package compiles a hot loop: numba, without the GIL, cached where a cache can be written.

numba has no type hints: its decorators, those for CUDA among them, are typed here once. Importing this module
imports numba, which takes a third of a second: import kernels inside the functions that call them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from typing import TYPE_CHECKING, Any

import numba
import numba.extending
from numba.core.caching import FunctionCache

from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compiled", "cuda_function", "cuda_intrinsic", "cuda_kernel", "intrinsic", "part"]

logger = logging.getLogger(__name__)


class _LenientCache(FunctionCache):  # type: ignore[misc]  # numba has no type hints
    """numba's on-disk cache, for which a full disk or a damaged file means compiling again, not failing."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 (unpickling a damaged file can raise anything)
            logger.debug("compiled code is not read from %s: %s", self.cache_path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 (a damaged index is read before it is written)
            logger.debug("compiled code is not kept in %s: %s", self.cache_path, error)


def compiled(function: Callable[..., Any]) -> Any:
    """Compiles `function` at its first call for the argument types of that call; usable as a decorator.

    The machine code is cached beside the module, else in the user's cache directory (or in
    `NUMBA_CACHE_DIR`, which takes precedence), else in a folder of the user's own among the temporary files.
    Where none of them can be written, it is compiled once per process.
    numba notices changes of the file that holds `function`, not of kernels it calls in other files: keep
    kernels that call one another in one file.

    Floating point follows IEEE 754 to the letter: nothing is reordered, a division by zero gives Inf or NaN.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    try:
        dispatcher._cache = _cache(function)
    except (RuntimeError, OSError) as error:
        logger.debug("compiled code is not cached: %s", error)
    return dispatcher


def part(function: Callable[..., Any]) -> Any:
    """Compiles a function that only compiled functions of its own file call, as a part of them; a decorator."""
    return numba.njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        function
    )


def intrinsic(function: Callable[..., Any]) -> Any:
    """Makes a function of compiled loops from one that emits LLVM code; a decorator.

    Raises:
        OptionError: where the environment keeps numba from compiling: Python cannot run such a function.
    """
    if numba.config.DISABLE_JIT:
        raise OptionError(
            "NUMBA_DISABLE_JIT is set in the environment, and activations are counted by compiled code only",
            fix="unset it",
        )
    return numba.extending.intrinsic(function)


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


def _cache(function: Callable[..., Any]) -> _LenientCache:
    try:
        return _LenientCache(function)
    except RuntimeError:
        if numba.config.CACHE_DIR:
            raise
        numba.config.CACHE_DIR = _own_temporary_folder()
        return _LenientCache(function)


def _own_temporary_folder() -> str:
    """A folder that nobody else can write to: what is read from it is run.

    Raises:
        OSError: when there is none and none can be made.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    path = os.path.join(tempfile.gettempdir(), f"onnx_trtcal-{user}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(path)
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        raise PermissionError(f"{path} belongs to another user")
    return path
