"""ONNX TensorProto files (.pb), as in the test data of the ONNX model zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.data.readers.lazy_array import LoadedArray, reading

if TYPE_CHECKING:
    from onnx_trtcal.data.remote import DataPath

__all__ = ["read_tensor"]


def read_tensor(path: DataPath, where: str) -> dict[str, LoadedArray]:
    """The array of a serialized ONNX TensorProto, by its name, which may be empty.

    Raises:
        DataError: when the file is not a TensorProto, or not a plain tensor.
    """
    import onnx
    from onnx import numpy_helper

    # protobuf raises an error type of its own, and an inconsistent tensor leads numpy_helper to any.
    with reading(
        where,
        "the file is not an ONNX TensorProto",
        "give .pb files as in the ONNX model zoo's test_data_set folders, or .npy",
    ):
        tensor = onnx.TensorProto.FromString(path.read_bytes())
        if tensor.data_type == onnx.TensorProto.UNDEFINED:
            raise ValueError("it has no element type")
        return {tensor.name: LoadedArray(numpy_helper.to_array(tensor, str(path.parent)))}
