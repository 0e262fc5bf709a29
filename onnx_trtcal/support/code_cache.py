"""Where machine code is kept from one process to the next, and when it is still good."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.fingerprint import fingerprint
from onnx_trtcal.support.machine_code import SCALARS, MachineCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onnx_trtcal.support.machine_code import Kind

__all__ = ["CodeCache", "own_temporary_folder"]

logger = logging.getLogger(__name__)

_MAGIC = b"onnx_trtcal code 2\n"  # the number is that of the format, and of how functions are compiled
_CHECKSUM = 64  # bytes
_SETTINGS = (  # what numba reads in the environment that changes machine code
    "NUMBA_BOUNDSCHECK",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_DEBUGINFO",
    "NUMBA_DISABLE_INTEL_SVML",
    "NUMBA_ENABLE_AVX",
    "NUMBA_ENABLE_PROFILING",
    "NUMBA_EXTEND_VARIABLE_LIFETIMES",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_OPT",
    "NUMBA_SLP_VECTORIZE",
)


class CodeCache:
    """The machine code of a function for arguments of some kinds, in a file of its own.

    The file lies beside the module, else in the user's cache directory (or in `NUMBA_CACHE_DIR`, which takes
    precedence), else in a folder of the user's own among the temporary files. It begins with a magic word, with a
    number of the format in it, and a checksum of the rest: what is damaged is not run, and neither is what another
    processor, Python, numba or function has left there.

    Another processor, Python or numba has a file of its own there, and so has each closure: none is in the way of the
    next. A function that has changed takes the place of what it was.

    Args:
        function: as Python has it.
        kinds: of its arguments.
    """

    def __init__(self, function: Callable[..., Any], kinds: Sequence[Kind]) -> None:
        arguments = [kind if isinstance(kind, str) else [repr(kind[0]), *kind[1:]] for kind in kinds]
        self._module = Path(function.__code__.co_filename)
        content = fingerprint(function)
        closed_over = content if function.__closure__ else None
        identity = _digest(
            [
                os.path.abspath(self._module),
                function.__qualname__,
                closed_over,
                arguments,
                _machine(),
                _toolchain(),
            ]
        )
        self._name = f"{self._module.stem}.{function.__name__}-{identity[:16]}.code"
        self._key = _digest([identity, content])

    def read(self) -> MachineCode | None:
        """What was written; None where that is not there, damaged, or made of or for something else."""
        for folder in self._folders(make=False):
            with contextlib.suppress(OSError):
                code = _decoded((folder / self._name).read_bytes(), self._key)
                if code is not None:
                    return code
        return None

    def write(self, code: MachineCode) -> None:
        """Keeps the code in the first folder that takes it, whole or not at all; nowhere where none does."""
        fields = {"key": self._key, "symbol": code.symbol, "returns": code.returns, "as_tuple": code.as_tuple}
        rest = json.dumps(fields).encode() + b"\n" + code.data
        for folder in self._folders(make=True):
            try:
                atomic_write(folder / self._name, _MAGIC + hashlib.sha256(rest).hexdigest().encode() + rest)
            except CalibrationError as error:
                logger.debug("machine code is not kept: %s", error)
            else:
                return

    def _folders(self, *, make: bool) -> Iterator[Path]:
        """Where the file may lie, the best place first; where `make` is set, those that exist or can be made."""
        chosen = os.environ.get("NUMBA_CACHE_DIR")
        if chosen:
            found = [Path(chosen, "onnx_trtcal")]
        else:
            found = [self._module.parent / "__pycache__"] if self._module.is_file() else []
            found += _user_folders()
        for folder in found:
            try:
                if make:
                    folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                logger.debug("machine code is not kept in %s: %s", folder, error)
            else:
                yield folder
        if not chosen:
            with contextlib.suppress(OSError):
                yield Path(own_temporary_folder(make=make))


def own_temporary_folder(*, make: bool = True) -> str:
    """A folder that nobody else can write to: what is read from it is run.

    Raises:
        OSError: when there is none and none can be made.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    path = os.path.join(tempfile.gettempdir(), f"onnx_trtcal-{user}")
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(path)
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        raise PermissionError(f"{path} belongs to another user")
    return path


def _user_folders() -> Iterator[Path]:
    """The user's cache directory, where there is one."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(base):
        yield Path(base, "onnx_trtcal")


@functools.cache
def _machine() -> list[Any]:
    """What machine code runs on."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return [llvm.get_process_triple(), sys.maxsize, llvm.get_host_cpu_name(), features]


@functools.cache
def _toolchain() -> list[Any]:
    """What makes machine code, and what that depends on."""
    import importlib.metadata

    import llvmlite

    try:
        numba = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        import numba as module

        numba = module.__version__
    return [sys.version, numba, llvmlite.__version__, [os.environ.get(name) for name in _SETTINGS]]


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _decoded(content: bytes, key: str) -> MachineCode | None:
    if not content.startswith(_MAGIC):
        return None
    checksum, rest = content[len(_MAGIC) :][:_CHECKSUM], content[len(_MAGIC) + _CHECKSUM :]
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        return None
    header, _, data = rest.partition(b"\n")
    try:
        fields = json.loads(header)
        if not isinstance(fields, dict) or fields["key"] != key:
            return None
        symbol, returns, as_tuple = fields["symbol"], tuple(fields["returns"]), fields["as_tuple"]
        if not (isinstance(symbol, str) and isinstance(as_tuple, bool) and SCALARS.keys() >= set(returns)):
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return MachineCode(symbol, returns, as_tuple, data)
