from __future__ import annotations

import numpy as np

from onnx_trtcal.data.readers.lazy_array import LoadedArray

ARRAY = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


def test_rows_of_a_loaded_array():
    rows = list(LoadedArray(ARRAY.transpose(1, 0, 2)).rows(2))
    np.testing.assert_array_equal(np.array(rows), ARRAY.transpose(1, 0, 2).reshape(8, 3))


def test_a_row_that_is_one_number_is_an_array():
    rows = list(LoadedArray(np.arange(3, dtype=np.float32)).rows(1))
    assert [type(row) for row in rows] == [np.ndarray] * 3
    assert [(row.shape, row.dtype, float(row)) for row in rows] == [((), np.float32, at) for at in range(3)]
