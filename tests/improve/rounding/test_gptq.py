"""GPTQ against its definition, written out column by column with the inverse of H."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.improve.rounding.gptq import DAMPING, output_error, round_rows


def by_definition(rows: np.ndarray, covariance: np.ndarray, limit: int) -> np.ndarray:
    """Rounds the first column left, spreads its error over the others by the inverse of H, and takes H without it."""
    order = np.argsort(-np.diagonal(covariance), kind="stable")
    left = covariance[np.ix_(order, order)].copy()
    left += DAMPING * covariance.diagonal().mean() * np.eye(len(left))
    inverse = np.linalg.inv(left)
    weights = rows[:, order].copy()
    found = np.zeros_like(weights)
    for column in range(weights.shape[1]):
        found[:, column] = np.clip(np.rint(weights[:, column]), -limit, limit)
        error = (weights[:, column] - found[:, column]) / inverse[0, 0]
        weights[:, column:] -= np.outer(error, inverse[0])
        # Gaussian elimination: the inverse of H without this row and column.
        inverse = inverse[1:, 1:] - np.outer(inverse[1:, 0], inverse[0, 1:]) / inverse[0, 0]
    back = np.empty_like(found)
    back[:, order] = found
    return back


def correlated(rows: int, columns: int, seed: int) -> np.ndarray:
    """What a layer reads: integers whose columns are far from independent."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(rows, columns // 3)) @ random.normal(size=(columns // 3, columns))
    return np.clip(np.rint(20 * mixed + 5 * random.normal(size=(rows, columns))), -127, 127)


@pytest.mark.parametrize(("columns", "limit"), [(12, 127), (150, 127), (150, 63)])
def test_it_is_what_the_definition_gives(columns: int, limit: int) -> None:
    read = correlated(400, columns, columns)
    rows = np.random.default_rng(1).uniform(-limit, limit, size=(9, columns))
    covariance = read.T @ read
    found, wanted = round_rows(rows, covariance, limit), by_definition(rows, covariance, limit)
    nearest = np.clip(np.rint(rows), -limit, limit)
    assert (wanted != nearest).any()
    np.testing.assert_array_equal(found, wanted)
    assert np.abs(found).max() <= limit


@pytest.mark.parametrize("seed", range(5))
def test_no_row_is_worse_than_the_nearest_integers_and_together_they_are_much_better(seed: int) -> None:
    read = correlated(200, 45, seed)
    rows = np.random.default_rng(seed + 100).uniform(-127, 127, size=(16, 45))
    covariance = read.T @ read
    after = output_error(rows - round_rows(rows, covariance, 127), covariance)
    before = output_error(rows - np.rint(rows), covariance)
    assert (after <= before).all()
    assert after.sum() < 0.5 * before.sum()
    # The error is that of the layer's output on these very rows.
    direct = ((read @ (rows - np.rint(rows)).T) ** 2).sum(axis=0)
    np.testing.assert_allclose(before, direct)


@pytest.mark.parametrize("columns", [9, 100])
def test_groups_together_are_each_group_alone(columns: int) -> None:
    read = [correlated(60, columns, seed) for seed in range(3)]
    covariance = np.stack([each.T @ each for each in read] + [np.zeros((columns, columns))])
    rows = np.random.default_rng(6).uniform(-127, 127, size=(4, 5, columns))
    alone = [round_rows(each, of, 127) for each, of in zip(rows, covariance, strict=True)]
    np.testing.assert_array_equal(round_rows(rows, covariance, 127), np.stack(alone))


def test_a_group_that_reads_nan_keeps_the_nearest_integers_and_leaves_the_others_alone() -> None:
    read = correlated(60, 9, 1)
    covariance = np.stack([read.T @ read, np.full((9, 9), np.nan)])
    rows = np.random.default_rng(6).uniform(-127, 127, size=(2, 5, 9))
    found = round_rows(rows, covariance, 127)
    np.testing.assert_array_equal(found, [round_rows(rows[0], covariance[0], 127), np.rint(rows[1])])
    np.testing.assert_array_equal(round_rows(rows[1], covariance[1], 127), np.rint(rows[1]))


def test_columns_that_are_never_read_and_fewer_rows_than_columns() -> None:
    read = correlated(10, 30, 3)
    read[:, 4] = 0
    rows = np.random.default_rng(5).uniform(-127, 127, size=(3, 30))
    found = round_rows(rows, read.T @ read, 127)
    np.testing.assert_array_equal(found[:, 4], np.rint(rows[:, 4]))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(round_rows(rows, np.zeros((30, 30)), 127), np.rint(rows))
