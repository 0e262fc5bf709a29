"""Tensors by name in a .safetensors file, read with the package safetensors."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.readers.lazy_array import LoadedArray, reading
from onnx_trtcal.data.readers.packages import needed_package
from onnx_trtcal.data.remote import local_file

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from onnx_trtcal.data.remote import DataPath

__all__ = ["read_safetensors"]


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor in a file: its shape is known, its values are read when they are asked for."""

    path: DataPath
    name: str
    shape: tuple[int, ...]
    dtype: None = None  # as in the file's own words, which are not NumPy's

    def read(self) -> np.ndarray:
        with _reading(str(self.path)), _opened(self.path) as file:
            return np.asarray(file.get_tensor(self.name))

    def rows(self, axes: int, picks: Sequence[int] | None = None) -> Generator[np.ndarray, None, None]:
        if axes != 1:
            yield from LoadedArray(self.read()).rows(axes, picks)
            return
        with _reading(str(self.path)), _opened(self.path) as file:
            tensor = file.get_slice(self.name)
            for index in range(self.shape[0]) if picks is None else picks:
                yield np.asarray(tensor[index : index + 1])[0]


def read_safetensors(path: DataPath, where: str) -> dict[str, _StoredTensor]:
    """The tensors by name; only the header is read.

    Raises:
        DataError: when the package safetensors is not installed, or the file is damaged.
    """
    needed_package("safetensors", where, "save the tensors as .npz")
    with _reading(where), _opened(path) as file:
        return {
            name: _StoredTensor(path, name, tuple(file.get_slice(name).get_shape()))
            for name in file.keys()  # noqa: SIM118 (it is not a mapping)
        }


@contextmanager
def _opened(path: DataPath) -> Iterator[Any]:
    # Its NumPy types for bfloat16 and the like come from ml_dtypes, which onnx installs.
    package = needed_package("safetensors", str(path), "save the tensors as .npz")
    with local_file(path) as local, package.safe_open(local, framework="np") as file:
        yield file


def _reading(where: str) -> AbstractContextManager[None]:
    return reading(where, "the file is not safetensors", "write the file again")
