"""Checks the files that a run is going to write, before it does any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_destinations"]


def check_destinations(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuses outputs that could not be written, or that would overwrite an input or one another.

    Args:
        outputs: files to be written; older files there may be replaced.
        inputs: files and folders that are read. A new file may go into a folder of data, but not over a file
            that was there.

    Raises:
        OptionError: naming the path, and what is wrong with it.
    """
    read = [Path(os.path.realpath(path)) for path in inputs]
    seen: set[Path] = set()
    for output in map(Path, outputs):
        real = Path(os.path.realpath(output))
        _check_place(output, real)
        if real in seen:
            raise OptionError(
                "two outputs have the same path", where=str(output), fix="give each a path of its own"
            )
        seen.add(real)
        for path in read:
            if real == path or (
                real.exists() and real.suffix in _DATA and path.is_dir() and path in real.parents
            ):
                raise OptionError(
                    "this output would overwrite an input of the run",
                    where=str(output),
                    fix="give another path",
                )


# Other files in a folder of data, such as the cache of the run before, are not data and may be replaced.
_DATA = {".npy", ".npz", ".pb", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


def _check_place(output: Path, real: Path) -> None:
    if real.is_dir():
        raise OptionError("this output is a folder", where=str(output), fix="name a file in it")
    if real.exists() and not real.is_file():
        raise OptionError("this output is not a regular file", where=str(output), fix="give another path")
    if not real.parent.is_dir():
        raise OptionError(
            "the folder of this output does not exist",
            where=str(output),
            fix=f"make it: mkdir -p {real.parent}",
        )
    if not os.access(real.parent, os.W_OK):
        raise OptionError(
            "the folder of this output cannot be written to", where=str(output), fix="give another path"
        )
