"""Arrays of samples in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.improve.rounding.tensor_files import TensorFiles

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_whatever_its_shape_and_type(tmp_path: Path) -> None:
    files = TensorFiles(tmp_path)
    arrays = [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        np.array(7, np.int8),
        np.zeros((0, 5), np.float16),
        np.array([True, False]),
    ]
    for sample, array in enumerate(arrays):
        files.write("a", sample, array)
        files.write("b/c:0", sample, array)
    files.write("a", 0, np.ones(2))
    np.testing.assert_array_equal(files.read("a", 0), np.ones(2))
    for sample, array in enumerate(arrays):
        found = files.read("b/c:0", sample)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    assert "a" in files and set(files.names()) == {"a", "b/c:0"}
    files.drop("a")
    assert "a" not in files and len(list(tmp_path.iterdir())) == 1
    files.close()
    assert not list(tmp_path.iterdir())
