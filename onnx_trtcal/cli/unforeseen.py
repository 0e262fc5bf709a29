"""What is left of an error that nobody foresaw: a report that can be sent on, without the user's data in it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from importlib import metadata
from typing import TYPE_CHECKING

from onnx_trtcal import __version__
from onnx_trtcal.support.printable import printable, shell_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["write_report"]

_PACKAGES = (
    "numpy",
    "onnx",
    "ml_dtypes",
    "onnx-graphsurgeon",
    "onnxruntime",
    "onnxruntime-gpu",
    "numba",
    "numba-cuda",
    "rich",
    "Pillow",
    "flatbuffers",
    "pyarrow",
    "safetensors",
    "tensorrt-rtx-cu12",
)


def write_report(error: BaseException, arguments: Sequence[str]) -> str:
    """Writes versions, the command and the traceback to a new file in the temporary folder, for the user's eyes only.

    It holds neither the values of variables nor the messages of exceptions: a library may quote in them what it read.

    Args:
        error: what was raised.
        arguments: the command line, without the program's name.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    # mkstemp makes a file that only its owner may read.
    descriptor, path = tempfile.mkstemp(prefix="onnx-trtcal-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        for line in _lines(error, arguments):
            file.write(printable(line) + "\n")
    return path


def _lines(error: BaseException, arguments: Sequence[str]) -> Iterator[str]:
    yield f"onnx-trtcal {__version__}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    for package in _PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    yield f"command: {shell_command(['onnx-trtcal', *arguments])}"
    yield f"working directory exists: {os.path.isdir('.')}; encoding of file names: {sys.getfilesystemencoding()}"
    yield ""
    yield from _traceback(error)


def _traceback(error: BaseException) -> Iterator[str]:
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _traceback(earlier)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}, line {frame.lineno}, in {frame.name}"
        if frame.line:
            yield f"    {frame.line}"
    kind = type(error)
    yield f"{kind.__module__}.{kind.__qualname__} (its message is left out: it may quote data)"
