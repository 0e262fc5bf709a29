"""Rows compared as a set: detections come in any number and order."""

from __future__ import annotations

import numpy as np

__all__ = ["paired_rows"]

# Differences of values to take for one pair of arrays; above it, rows are paired in the order in which they come.
_MOST_DIFFERENCES = 1 << 27


def paired_rows(expected: np.ndarray, got: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Two arrays of rows, rearranged so that rows that belong together have one position.

    The two rows that are nearest to each other are a pair, then the nearest two of those left, and so on, as long as
    they are nearer than both are to zero together. Distances are Euclidean, each value taken relative to the RMS of
    its place in the row. A row that is left over stands beside zeros.

    Args:
        expected: of any float type.
        got: of the same shape, but for the number of rows.
        axis: the one that counts rows.

    Returns:
        Both, of one shape; None where they differ in more than the number of rows.
    """
    one, other = np.moveaxis(expected, axis, 0), np.moveaxis(got, axis, 0)
    if one.shape[1:] != other.shape[1:]:
        return None
    pairs: list[tuple[int, int]] = []
    if one.size and other.size:
        pairs = _pairs(*(each.astype(np.float64).reshape(len(each), -1) for each in (one, other)))
    found = {first for first, _ in pairs}
    lost = [at for at in range(len(one)) if at not in found]
    taken = {second for _, second in pairs}
    new = [at for at in range(len(other)) if at not in taken]
    shape = (len(pairs) + len(lost) + len(new), *one.shape[1:])
    left, right = np.zeros(shape, one.dtype), np.zeros(shape, other.dtype)
    left[: len(pairs) + len(lost)] = one[[first for first, _ in pairs] + lost]
    right[: len(pairs)] = other[[second for _, second in pairs]]
    right[len(pairs) + len(lost) :] = other[new]
    return np.moveaxis(left, 0, axis), np.moveaxis(right, 0, axis)


def _pairs(one: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """Positions in both of the rows that belong together, those of `one` ascending."""
    if one.size * len(other) > _MOST_DIFFERENCES:
        return [(at, at) for at in range(min(len(one), len(other)))]
    one, other = (np.nan_to_num(each, posinf=0.0, neginf=0.0) for each in (one, other))
    rms = np.sqrt(np.mean(one**2, axis=0))
    one, other = (each / np.where(rms > 0, rms, 1.0) for each in (one, other))
    powers = (one**2).sum(1)[:, None] + (other**2).sum(1)[None, :]
    # Differences are taken one by one: |a|² + |b|² - 2ab leaves nothing of a small one.
    distances = np.array([((other - row) ** 2).sum(1) for row in one])
    found = []
    free, taken = np.ones(len(one), bool), np.zeros(len(other), bool)
    for at in np.argsort(distances, axis=None, kind="stable"):
        first, second = divmod(int(at), len(other))
        if free[first] and not taken[second] and distances[first, second] < powers[first, second]:
            free[first], taken[second] = False, True
            found.append((first, second))
    return sorted(found)
