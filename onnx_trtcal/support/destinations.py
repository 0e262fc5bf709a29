"""The files that a run is going to write: checked and taken before it does any work."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError
from onnx_trtcal.support.output_lock import locked
from onnx_trtcal.support.temporary_folder import remove_abandoned_folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["check_destinations", "destinations"]

_LONGEST_SHOWN = 200  # characters of a path in a message


@contextlib.contextmanager
def destinations(
    outputs: Iterable[str | Path], inputs: Iterable[str | Path], beside: Iterable[str | Path] = ()
) -> Iterator[None]:
    """What a verb does all of its work in: its outputs are checked, and no other run writes them meanwhile.

    What killed runs have left among the temporary files of the system is removed.

    Args:
        outputs: as `check_destinations` takes them.
        inputs: likewise.
        beside: further files that the run may write beside its outputs, for itself.

    Raises:
        OptionError: when an output cannot be written, or would overwrite an input.
        CalibrationError: when another run writes one of them; it is named.
    """
    remove_abandoned_folders()
    files = list(outputs)
    check_destinations([*files, *beside], inputs)
    with locked(files):
        yield


def check_destinations(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuses outputs that could not be written, or that would overwrite an input or one another.

    Args:
        outputs: files to be written; older files there may be replaced.
        inputs: files and folders that are read. A new file may go into a folder of data, but not over a file
            that was there.

    Raises:
        OptionError: naming the path, and what is wrong with it.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise OptionError(
            "the working directory of this run has been deleted", fix="cd to a folder that exists"
        ) from error
    read = [Path(os.path.realpath(path)) for path in inputs]
    _check(map(Path, outputs), read)


def _check(outputs: Iterable[Path], read: list[Path]) -> None:
    seen: set[Path] = set()
    for output in outputs:
        real = Path(os.path.realpath(output))
        try:
            _check_place(output, real)
        except OSError as error:
            raise OptionError(
                f"this output cannot be written: {error.strerror or error}",
                where=_shown(output),
                fix="give another path",
            ) from error
        if real in seen:
            raise OptionError(
                "two outputs have the same path", where=str(output), fix="give each a path of its own"
            )
        seen.add(real)
        for path in read:
            if real == path or (
                real.exists() and real.suffix in _DATA and os.path.isdir(path) and path in real.parents
            ):
                raise OptionError(
                    "this output would overwrite an input of the run",
                    where=str(output),
                    fix="give another path",
                )


def _shown(path: Path) -> str:
    """The path, without its middle when it is as long as a mistake makes it."""
    text, half = str(path), _LONGEST_SHOWN // 2
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:half]}…{text[-half:]} ({len(text)} characters)"


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
