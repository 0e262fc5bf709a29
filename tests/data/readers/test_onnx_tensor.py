from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnx_trtcal.data.readers.onnx_tensor import read_tensor
from onnx_trtcal.errors import DataError

ARRAY = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


def test_tensor_proto(tmp_path):
    path = tmp_path / "input_0.pb"
    path.write_bytes(numpy_helper.from_array(ARRAY, "data").SerializeToString())
    ((name, lazy),) = read_tensor(path, "input_0.pb").items()
    assert name == "data"
    np.testing.assert_array_equal(lazy.read(), ARRAY)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xff", onnx.TensorProto(data_type=1, dims=[3], raw_data=b"ab").SerializeToString()]
)
def test_no_tensor_proto(tmp_path, data):
    (tmp_path / "a.pb").write_bytes(data)
    with pytest.raises(DataError, match="not an ONNX TensorProto") as caught:
        read_tensor(tmp_path / "a.pb", "a.pb")
    assert caught.value.where == "a.pb"


def test_a_file_that_is_gone_is_not_called_damaged(tmp_path):
    with pytest.raises(DataError, match="gone"):
        read_tensor(tmp_path / "a.pb", "a.pb")
