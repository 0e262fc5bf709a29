"""Weights as graph-surgeon constants: read when asked for, exported as the very bytes they came as."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import helper, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnx_trtcal.graph.model.external import is_external, map_values

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.support.temporary_folder import TemporaryFolder

__all__ = ["SpilledValues", "Weight", "WeightValues", "to_proto"]


class WeightValues(LazyValues):
    """The values of a stored tensor: they stay in the model, or in its external file, until loaded."""

    def __init__(self, tensor: onnx.TensorProto | onnx.SparseTensorProto, directory: Path | None) -> None:
        dense = tensor.values if isinstance(tensor, onnx.SparseTensorProto) else tensor
        self.tensor = tensor
        self.directory = directory
        self.shape = list(tensor.dims)
        self.dtype = helper.tensor_dtype_to_np_dtype(dense.data_type)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize

    def load(self) -> np.ndarray:
        """The values as a read-only array; an external tensor is mapped from its file, not read."""
        if isinstance(self.tensor, onnx.SparseTensorProto):
            values = self._dense(self.tensor)
        elif is_external(self.tensor) and self.directory is not None:
            values = map_values(self.tensor, self.directory)
        else:
            values = numpy_helper.to_array(self.tensor)
        if values.flags.writeable:
            values.flags.writeable = False
        return values

    def _dense(self, tensor: onnx.SparseTensorProto) -> np.ndarray:
        # Indices are places in the flattened tensor, or one row of coordinates for each value.
        indices = numpy_helper.to_array(tensor.indices)
        values = numpy_helper.to_array(tensor.values)
        dense = np.zeros(self.shape, self.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        return dense


class SpilledValues(WeightValues):
    """Values in a temporary file, which goes with the last of them.

    Attributes:
        folder: the temporary folder; the model's own external files are found there as well.
        place: the tensor as a reference into the file.
    """

    def __init__(self, tensor: onnx.TensorProto, folder: TemporaryFolder) -> None:
        super().__init__(tensor, folder.path)
        self.folder = folder
        self.place = tensor


class Weight(gs.Constant):
    """A constant of the original model, or one that took the place of such.

    Reading `values` leaves the tensor lazy, so that a weight nobody assigned to is exported bit for bit, and
    no copy of it stays behind. The arrays are read-only: assign to `values` to change the weight.
    """

    def __init__(self, name: str, values: LazyValues | np.ndarray) -> None:
        super().__init__(name, values)

    @property
    def values(self) -> np.ndarray:
        """The array, read-only where it is still as it was stored."""
        stored = self._values
        return stored.load() if isinstance(stored, LazyValues) else stored

    @values.setter
    def values(self, values: np.ndarray | LazyValues) -> None:
        self._values = values

    def copy(self) -> gs.Constant:
        """A constant of the same name and values, without producers and consumers."""
        return Weight(self.name, self._values)


def to_proto(name: str, values: np.ndarray) -> onnx.TensorProto:
    """An initializer that holds an array; bfloat16, float8 and 4-bit types come as `ml_dtypes` arrays."""
    return numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name)
