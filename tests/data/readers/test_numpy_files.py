from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    """A stack that loses its end during the run still gives its first rows: nothing past them was read."""
    np.save(tmp_path / "a.npy", ARRAY)
    rows = read_npy(tmp_path / "a.npy", "a.npy")[""].rows(1)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-30])
    np.testing.assert_array_equal(next(rows), ARRAY[0])
    with pytest.raises(DataError, match="ends inside the array") as caught:
        list(rows)
    assert caught.value.where == "a.npy"


def header(text: str) -> bytes:
    """A .npy file of nothing but a header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (",
        "{'descr': '<f4'",
        "{'descr': '', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': (), 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': [], 'fortran_order': False, 'shape': (), }\n",
        "(" * 300,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1000000000000), }\n",
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 5000}, ), }}\n",
    ],
)
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_whatever_a_header_says_is_an_error_of_ours(tmp_path, form, text):
    path = tmp_path / f"a.{form}"
    if form == "npy":
        path.write_bytes(header(text))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", header(text))
    with pytest.raises(DataError) as caught:
        read_npy(path, "a.npy") if form == "npy" else read_npz(path, "a.npz")
    assert caught.value.where.startswith(f"a.{form}")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_is_an_error_of_ours(tmp_path, method, data):
    path = tmp_path / "a.npz"
    file = io.BytesIO()
    np.save(file, ARRAY)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", file.getvalue())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        for stored in read_npz(path, "a.npz").values():
            stored.read()
    except DataError as error:
        assert error.where.startswith("a.npz")


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


@pytest.mark.parametrize("dtype", ["<f4", ">i2", "|b1", "|u1", "<U3", "<c8", "|V2", "|S4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 4)])
def test_usual_headers_are_read_without_parsing_python(tmp_path, monkeypatch, dtype, shape):
    """Parsing it in a thread, while numba parses in another, is a SystemError in Python 3.11 once in a while."""
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype))
    monkeypatch.setattr("ast.parse", None)
    lazy = read_npy(tmp_path / "a.npy", "a.npy")[""]
    assert (lazy.shape, lazy.dtype) == (shape, np.dtype(dtype))
    assert lazy.read().shape == shape


def test_unusual_headers_are_left_to_numpy(tmp_path):
    text = b"{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}"
    for version, size in ((b"\x01\x00", 2), (b"\x02\x00", 4)):
        header = b"\x93NUMPY" + version + (len(text) + 1).to_bytes(size, "little") + text + b"\n"
        (tmp_path / "a.npy").write_bytes(header + np.float32([1, 2]).tobytes())
        assert read_npy(tmp_path / "a.npy", "a.npy")[""].read().tolist() == [1, 2]


def test_equal_headers_are_one_object(tmp_path):
    for name, array in (("a", ARRAY), ("b", ARRAY + 1), ("c", ARRAY.astype(np.int32))):
        np.save(tmp_path / f"{name}.npy", array)
    one, same, other = (read_npy(tmp_path / f"{name}.npy", name)[""].header for name in "abc")
    assert one is same and one is not other


@pytest.mark.parametrize("saved", [ARRAY, np.asfortranarray(ARRAY)])
@pytest.mark.parametrize(
    "other", [ARRAY.astype(np.int32), ARRAY.reshape(2, 4, 3), ARRAY[:1], np.concatenate([ARRAY, ARRAY])]
)
@pytest.mark.parametrize("how", ["read", "rows"])
def test_a_file_that_has_become_another_one_is_noticed(tmp_path, saved, other, how):
    path = tmp_path / "a.npy"
    np.save(path, saved)
    lazy = read_npy(path, "a.npy")[""]
    np.save(path, other)
    with pytest.raises(DataError, match="has changed since") as caught:
        lazy.read() if how == "read" else list(lazy.rows(1))
    assert caught.value.where == "a.npy"


@pytest.mark.parametrize("left", [0, 5, 100])
def test_a_file_that_has_lost_its_header_is_noticed(tmp_path, left):
    path = tmp_path / "a.npy"
    np.save(path, ARRAY)
    lazy = read_npy(path, "a.npy")[""]
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match="has changed since"):
        lazy.read()


def test_a_file_that_has_lost_its_end_is_noticed(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, ARRAY)
    lazy = read_npy(path, "a.npy")[""]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="ends inside the array"):
        lazy.read()


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<c16", "<f2"])
def test_values_behind_a_header_of_odd_length_are_aligned(tmp_path, dtype):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (3,), }}".encode()
    for spaces in range(4):
        head = text + b" " * spaces + b"\n"
        values = np.array([1, 2, 3], dtype)
        data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + values.tobytes()
        (tmp_path / "a.npy").write_bytes(data)
        read = read_npy(tmp_path / "a.npy", "a.npy")[""].read()
        assert read.flags.aligned and read.tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", ["(-1, 4)", "(-100, 4)", "(True, 4)", f"({10**20}, 0)"])
@pytest.mark.parametrize("fortran", [False, True])
def test_shapes_that_no_array_has_are_damage(tmp_path, shape, fortran):
    text = f"{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    (tmp_path / "a.npy").write_bytes(header + bytes(64))
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_npy(tmp_path / "a.npy", "a.npy")
    assert caught.value.where == "a.npy"


def test_types_that_no_array_has_are_damage(tmp_path):
    text = b"{'descr': ('<f4', (4,)), 'fortran_order': False, 'shape': (2,), }\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    (tmp_path / "a.npy").write_bytes(header + bytes(32))
    with pytest.raises(DataError, match="cannot be read"):
        read_npy(tmp_path / "a.npy", "a.npy")


def test_an_array_that_memory_cannot_hold_names_its_file(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", ARRAY)
    lazy = read_npy(tmp_path / "a.npy", "a.npy")[""]

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(DataError, match="does not fit into memory") as caught:
        lazy.read()
    assert caught.value.where == "a.npy"
