"""Arrays whose shape is known before their values are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnx_trtcal.errors import CalibrationError, DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["LazyArray", "LoadedArray", "reading"]


class LazyArray(Protocol):
    """An array of known shape, read whole or row by row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
        ...

    @property
    def dtype(self) -> np.dtype | None:
        """The type of its values; None where only reading them tells."""
        ...

    def read(self) -> np.ndarray:
        """The whole array."""
        ...

    def rows(self, axes: int, picks: Sequence[int] | None = None) -> Generator[np.ndarray, None, None]:
        """Iterates over the first `axes` axes in C order; each row has the axes that are left.

        Args:
            axes: how many.
            picks: positions of the rows to give, ascending; None for all.
        """
        ...


@dataclass(frozen=True, slots=True)
class LoadedArray:
    """An array that is in memory already."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of its values."""
        return self.array.dtype

    def read(self) -> np.ndarray:
        """The array itself."""
        return self.array

    def rows(self, axes: int, picks: Sequence[int] | None = None) -> Generator[np.ndarray, None, None]:
        """Views of the array along its first `axes` axes."""
        counted = self.array.shape[:axes]
        for position in range(math.prod(counted)) if picks is None else picks:
            yield np.asarray(self.array[np.unravel_index(position, counted)])  # a row may be one number


class reading:  # noqa: N801 (it reads as a function where it is used, and is a class to take less time)
    """The boundary of every reader: whatever the library below raises becomes a DataError that names the file.

    What a decoder does with damaged bytes is not documented anywhere, so no list of exceptions would be complete.

    Args:
        where: the file.
        message: what a damaged file is called; the error's own text is added.
        fix: what to do about a damaged file.
    """

    __slots__ = ("_fix", "_message", "_where")

    def __init__(self, where: str, message: str, fix: str) -> None:
        self._where = where
        self._message = message
        self._fix = fix

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, CalibrationError):
            return
        if isinstance(error, FileNotFoundError):
            raise DataError(
                "the file is gone", where=self._where, fix="keep the data in place during the run"
            ) from error
        if isinstance(error, MemoryError):
            what = f"{self._message}: it does not fit into memory"
            raise DataError(what, where=self._where, fix=self._fix) from error
        raise DataError(f"{self._message}: {_said(error)}", where=self._where, fix=self._fix) from error


def _said(error: Exception) -> str:
    """What a decoder says, where it says it for people: what it stumbles over in its own code says nothing."""
    if isinstance(error, (LookupError, TypeError, AttributeError, AssertionError)) or not str(error):
        return "it is damaged"
    # Some errors of the standard library hold a position, too, and would print as a tuple.
    told = error.args[0] if len(error.args) == 2 and str(error) == str(error.args) else error
    return str(told)
