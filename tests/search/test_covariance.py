"""X'X of integers is exact, whatever the order and the batches."""

from __future__ import annotations

import numpy as np

from onnx_trtcal.search.covariance import Covariance


def test_sums_are_exact_in_any_order_and_in_any_pieces() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(-127, 128, size=(2, 3001, 17))
    rows[:, :2000] = 127  # as large as sums get
    exact = np.einsum("gra,grb->gab", rows, rows)
    whole, pieces = Covariance(2, 17), Covariance(2, 17)
    whole.add(rows.astype(np.float32))
    for part in np.array_split(rows[:, random.permutation(3001)], 7, axis=1):
        pieces.add(part.astype(np.float32))
    np.testing.assert_array_equal(whole.sums, exact)
    np.testing.assert_array_equal(pieces.sums, exact)
    assert whole.rows == pieces.rows == 3001
