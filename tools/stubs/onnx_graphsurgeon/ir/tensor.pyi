from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx
from onnx_graphsurgeon.ir.node import Node

# An int is an onnx.TensorProto type that NumPy has no counterpart of.
ElementType: TypeAlias = np.dtype[np.generic] | type[np.generic] | int

class Tensor:
    name: str
    inputs: list[Node]
    outputs: list[Node]
    # A Constant has these from its values; assign to those of a Variable only.
    dtype: ElementType | None
    shape: Sequence[int | str | None] | None

class Variable(Tensor):
    type: str

    def __init__(
        self,
        name: str,
        dtype: ElementType | None = None,
        shape: Sequence[int | str | None] | None = None,
        type: str = "tensor_type",
    ) -> None: ...
    @staticmethod
    def empty() -> Variable: ...

class LazyValues:
    tensor: onnx.TensorProto | onnx.SparseTensorProto
    shape: list[int]
    dtype: np.dtype[np.generic]
    nbytes: int

    def __init__(self, tensor: onnx.TensorProto) -> None: ...
    def load(self) -> np.ndarray: ...

class Constant(Tensor):
    dtype: np.dtype[np.generic]
    shape: Sequence[int]
    _values: np.ndarray | LazyValues

    def __init__(self, name: str, values: np.ndarray | LazyValues) -> None: ...
    @property
    def values(self) -> np.ndarray: ...
    @values.setter
    def values(self, values: np.ndarray | LazyValues) -> None: ...
    def copy(self) -> Constant: ...
