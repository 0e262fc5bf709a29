"""Arrays whose shape is known before their values are read."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnx_trtcal.errors import CalibrationError, DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

__all__ = ["LazyArray", "LoadedArray", "reading"]


class LazyArray(Protocol):
    """An array of known shape, read whole or row by row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
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


@dataclass(frozen=True)
class LoadedArray:
    """An array that is in memory already."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Its length along each axis."""
        return self.array.shape

    def read(self) -> np.ndarray:
        """The array itself."""
        return self.array

    def rows(self, axes: int, picks: Sequence[int] | None = None) -> Generator[np.ndarray, None, None]:
        """Views of the array along its first `axes` axes."""
        counted = self.array.shape[:axes]
        for position in range(math.prod(counted)) if picks is None else picks:
            yield self.array[np.unravel_index(position, counted)]


@contextmanager
def reading(where: str, message: str, fix: str) -> Iterator[None]:
    """The boundary of every reader: whatever the library below raises becomes a DataError that names the file.

    What a decoder does with damaged bytes is not documented anywhere, so no list of exceptions would be complete.

    Args:
        where: the file.
        message: what a damaged file is called; the error's own text is added.
        fix: what to do about a damaged file.
    """
    try:
        yield
    except CalibrationError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            "the file is gone", where=where, fix="keep the data in place during the run"
        ) from error
    except MemoryError as error:
        raise DataError(f"{message}: it does not fit into memory", where=where, fix=fix) from error
    except Exception as error:
        raise DataError(f"{message}: {error or type(error).__name__}", where=where, fix=fix) from error
