"""Arrays whose shape is known before their values are read."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

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

    def rows(self, axes: int) -> Generator[np.ndarray, None, None]:
        """Iterates over the first `axes` axes in C order; each row has the axes that are left."""
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

    def rows(self, axes: int) -> Generator[np.ndarray, None, None]:
        """Views of the array along its first `axes` axes."""
        for index in np.ndindex(self.array.shape[:axes]):
            yield self.array[index]


@contextmanager
def reading(where: str, message: str, fix: str, damage: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turns what reading a file raises into a DataError that names the file.

    Args:
        where: the file.
        message: what a damaged file is called; the error's own text is added.
        fix: what to do about a damaged file.
        damage: the exceptions that a damaged file leads to.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            "the file is gone", where=where, fix="keep the data in place during the run"
        ) from error
    except damage as error:
        raise DataError(f"{message}: {error}", where=where, fix=fix) from error
