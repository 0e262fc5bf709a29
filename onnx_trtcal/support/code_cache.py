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
from onnx_trtcal.support.machine_code import MachineCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onnx_trtcal.support.machine_code import Kind

__all__ = ["CodeCache", "own_temporary_folder"]

logger = logging.getLogger(__name__)

_FORMAT = 1  # of the file, and of how functions are compiled
_CHECKSUM = 64  # bytes


class CodeCache:
    """The machine code of a function for arguments of some kinds, in a file of its own.

    The file lies beside the module, else in the user's cache directory (or in `NUMBA_CACHE_DIR`, which takes
    precedence), else in a folder of the user's own among the temporary files. It begins with a checksum of the rest:
    what is damaged is not run, and neither is what another processor, Python, numba or function has left there.

    Args:
        function: as Python has it.
        kinds: of its arguments.
    """

    def __init__(self, function: Callable[..., Any], kinds: Sequence[Kind]) -> None:
        arguments = [kind if isinstance(kind, str) else [repr(kind[0]), kind[1]] for kind in kinds]
        self._module = Path(function.__code__.co_filename)
        place = _digest([os.path.abspath(self._module), function.__qualname__, arguments, _machine()])
        self._name = f"{self._module.stem}.{function.__name__}-{place[:16]}.code"
        self._key = _digest([_FORMAT, fingerprint(function), arguments, _machine(), _makers()])

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
                atomic_write(folder / self._name, hashlib.sha256(rest).hexdigest().encode() + rest)
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
def _makers() -> list[Any]:
    """What makes machine code, and what that depends on."""
    import importlib.metadata

    import llvmlite

    try:
        numba = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        import numba as module

        numba = module.__version__
    told = sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return [
        sys.version,
        numba,
        llvmlite.__version__,
        [each for each in told if each[0] != "NUMBA_CACHE_DIR"],
    ]


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _decoded(content: bytes, key: str) -> MachineCode | None:
    checksum, rest = content[:_CHECKSUM], content[_CHECKSUM:]
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        return None
    header, _, data = rest.partition(b"\n")
    fields = json.loads(header)
    if fields["key"] != key:
        return None
    return MachineCode(fields["symbol"], tuple(fields["returns"]), fields["as_tuple"], data)
