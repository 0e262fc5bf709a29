from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.data.readers.numpy_files import read_npy, read_npz
from onnx_trtcal.errors import DataError

ARRAY = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


def stored(tmp_path, array, form):
    if form == "npy":
        np.save(tmp_path / "a.npy", array)
        return read_npy(tmp_path / "a.npy", "a.npy")[""]
    save = np.savez if form == "npz" else np.savez_compressed
    save(tmp_path / "a.npz", x=array)
    return read_npz(tmp_path / "a.npz", "a.npz")["x"]


@pytest.mark.parametrize("form", ["npy", "npz", "compressed"])
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY.astype(">i2"), np.float64(3.5)])
def test_whole_and_rows_give_what_was_saved(tmp_path, form, array):
    lazy = stored(tmp_path, array, form)
    assert lazy.shape == np.shape(array)
    np.testing.assert_array_equal(lazy.read(), array)
    for axes in range(np.ndim(array) + 1):
        rows = list(lazy.rows(axes))
        flat = np.reshape(array, (-1, *np.shape(array)[axes:]))
        assert len(rows) == len(flat)
        for row, wanted in zip(rows, flat, strict=True):
            np.testing.assert_array_equal(row, wanted)


def test_rows_of_a_stack_are_read_one_at_a_time(tmp_path):
    """A stack whose end is missing still gives its first rows: nothing past them was read."""
    np.save(tmp_path / "a.npy", ARRAY)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-30])
    rows = read_npy(tmp_path / "a.npy", "a.npy")[""].rows(1)
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
        read_npy(tmp_path / "a.npy", "a.npy")[""]
    assert caught.value.where == "a.npy"


def test_damaged_archives_name_the_file(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random(1000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    (tmp_path / "short.npz").write_bytes(data[:500])
    data[3000] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_npz(tmp_path / "short.npz", "short.npz")
    assert caught.value.where == "short.npz"
    with pytest.raises(DataError) as caught:
        read_npz(tmp_path / "flipped.npz", "flipped.npz")["x"].read()
    assert caught.value.where == "flipped.npz, key 'x'"


def test_file_gone_between_header_and_values(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    lazy = read_npy(tmp_path / "a.npy", "a.npy")[""]
    (tmp_path / "a.npy").unlink()
    with pytest.raises(DataError, match="gone"):
        lazy.read()
