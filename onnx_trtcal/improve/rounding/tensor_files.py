"""Arrays of many samples in files, so that memory holds those of one sample at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["TensorFiles"]


class TensorFiles:
    """One file per tensor, with the array of every sample.

    Args:
        folder: a temporary folder for the files.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._open: dict[str, BinaryIO] = {}
        self._places: dict[str, dict[int, tuple[int, tuple[int, ...], np.dtype]]] = {}
        self._made = 0

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._places

    def names(self) -> tuple[str, ...]:
        """The tensors that are held."""
        return tuple(self._places)

    def write(self, tensor: str, sample: int, array: np.ndarray) -> None:
        """Keeps a tensor's array of a sample; one that is there already is replaced."""
        if tensor not in self._open:
            self._open[tensor] = open(self._folder / str(self._made), "w+b")  # noqa: SIM115 (closed by drop)
            self._places[tensor] = {}
            self._made += 1
        file = self._open[tensor]
        at = file.seek(0, 2)
        array = np.ascontiguousarray(array)
        file.write(array.reshape(-1).view(np.uint8).data)
        self._places[tensor][sample] = (at, array.shape, array.dtype)

    def read(self, tensor: str, sample: int) -> np.ndarray:
        """The array of a sample."""
        at, shape, dtype = self._places[tensor][sample]
        found = np.empty(shape, dtype)
        if found.size:
            file = self._open[tensor]
            file.seek(at)
            file.readinto(found.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        return found

    def drop(self, tensor: str) -> None:
        """Forgets a tensor and removes its file."""
        file = self._open.pop(tensor)
        file.close()
        Path(file.name).unlink()
        del self._places[tensor]

    def close(self) -> None:
        """Forgets everything."""
        for tensor in self.names():
            self.drop(tensor)
