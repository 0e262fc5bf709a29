from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnx_trtcal.data.readers import Held, npy_column, npz_columns, pb_tensor
from onnx_trtcal.errors import DataError

ARRAY = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


def stored(tmp_path, array, form):
    if form == "npy":
        np.save(tmp_path / "a.npy", array)
        return npy_column(tmp_path / "a.npy", "a.npy")
    save = np.savez if form == "npz" else np.savez_compressed
    save(tmp_path / "a.npz", x=array)
    return npz_columns(tmp_path / "a.npz", "a.npz")["x"]


@pytest.mark.parametrize("form", ["npy", "npz", "compressed"])
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY.astype(">i2"), np.float64(3.5)])
def test_whole_and_rows_give_what_was_saved(tmp_path, form, array):
    column = stored(tmp_path, array, form)
    assert column.shape == np.shape(array)
    np.testing.assert_array_equal(column.whole(), array)
    for axes in range(np.ndim(array) + 1):
        rows = list(column.rows(axes))
        flat = np.reshape(array, (-1, *np.shape(array)[axes:]))
        assert len(rows) == len(flat)
        for row, wanted in zip(rows, flat, strict=True):
            np.testing.assert_array_equal(row, wanted)


def test_held_rows():
    rows = list(Held(ARRAY.transpose(1, 0, 2)).rows(2))
    np.testing.assert_array_equal(np.array(rows), ARRAY.transpose(1, 0, 2).reshape(8, 3))


def test_rows_of_a_stack_are_read_one_at_a_time(tmp_path):
    """A stack whose end is missing still gives its first rows: nothing past them was read."""
    np.save(tmp_path / "a.npy", ARRAY)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-30])
    rows = npy_column(tmp_path / "a.npy", "a.npy").rows(1)
    np.testing.assert_array_equal(next(rows), ARRAY[0])
    with pytest.raises(DataError, match="ends inside the array") as caught:
        list(rows)
    assert caught.value.where == "a.npy"


@pytest.mark.parametrize("form", ["npy", "npz"])
@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}], dtype=object), "never unpickled"),
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "records"),
        (np.zeros(2, [("ä", "f4")]), "records"),
    ],
)
def test_objects_and_records_are_refused(tmp_path, form, array, reason):
    with pytest.raises(DataError, match=reason):
        stored(tmp_path, array, form)


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", b"\x80\x04pickle", b"\x93NUMPY\x01\x00\x10\x00{not a header}\n"]
)
def test_damaged_npy_headers_name_the_file(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DataError) as caught:
        npy_column(tmp_path / "a.npy", "a.npy")
    assert caught.value.where == "a.npy"


def test_damaged_archives_name_the_file(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    (tmp_path / "short.npz").write_bytes(data[:500])
    data[3000] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(data)
    with pytest.raises(DataError) as caught:
        npz_columns(tmp_path / "short.npz", "short.npz")
    assert caught.value.where == "short.npz"
    with pytest.raises(DataError) as caught:
        npz_columns(tmp_path / "flipped.npz", "flipped.npz")["x"].whole()
    assert caught.value.where == "flipped.npz, key 'x'"


def test_file_gone_between_header_and_values(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    column = npy_column(tmp_path / "a.npy", "a.npy")
    (tmp_path / "a.npy").unlink()
    with pytest.raises(DataError, match="gone"):
        column.whole()


def test_tensor_proto(tmp_path):
    path = tmp_path / "input_0.pb"
    path.write_bytes(numpy_helper.from_array(ARRAY, "data").SerializeToString())
    name, column = pb_tensor(path, "input_0.pb")
    assert name == "data"
    np.testing.assert_array_equal(column.whole(), ARRAY)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xff", onnx.TensorProto(data_type=1, dims=[3], raw_data=b"ab").SerializeToString()]
)
def test_no_tensor_proto(tmp_path, data):
    (tmp_path / "a.pb").write_bytes(data)
    with pytest.raises(DataError, match="no ONNX TensorProto") as caught:
        pb_tensor(tmp_path / "a.pb", "a.pb")
    assert caught.value.where == "a.pb"
