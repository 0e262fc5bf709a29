from __future__ import annotations

import numpy as np
import pytest
from helpers.host_memory import device_array


def test_rows_of_a_device_array() -> None:
    array = device_array(np.zeros((6, 4, 2), np.float16))
    rows = array[2:5]
    assert (rows.address - array.address, rows.shape, rows.nbytes) == (2 * 16, (3, 4, 2), 48)
    assert rows.owner is array.owner
    assert array[:9].shape == (6, 4, 2)
    assert array[4:2].size == 0
    with pytest.raises(ValueError, match="consecutive"):
        array[::2]
