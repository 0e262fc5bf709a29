"""Groups of channels by magnitude: found where they are, and only where they are far apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.fidelity.magnitude_groups import group_bounds, spread


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(4, 20), st.integers(-2, 2)), min_size=1, max_size=4), st.integers(0, 99)
)
def test_groups_are_found_where_they_are(groups: list[tuple[int, int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    parts = [21.0**level * random.uniform(0.7, 1.4, size) for size, level in groups]
    # Neighbours of one level are one group.
    levels = np.repeat([level for _, level in groups], [size for size, _ in groups])
    wanted = tuple(int(at) + 1 for at in np.flatnonzero(np.diff(levels)))
    assert group_bounds(np.concatenate(parts) ** 2) == wanted


@settings(max_examples=100)
@given(st.integers(8, 60), st.integers(0, 99))
def test_what_is_within_tenfold_is_one_group(size: int, seed: int) -> None:
    amplitude = np.random.default_rng(seed).uniform(1, 9.9, size)
    assert group_bounds(amplitude**2) == ()


def test_samples_must_agree() -> None:
    power = np.repeat([1.0, 1e4], 5)
    assert group_bounds(power, [power] * 9 + [power[::-1]]) == (5,)
    assert group_bounds(power, [power] * 8 + [power[::-1]] * 2) == ()


def test_zeros_are_a_group_and_nothing_is_none() -> None:
    assert group_bounds(np.repeat([0.0, 1.0], 6)) == (6,)
    assert group_bounds(np.zeros(12)) == ()
    assert group_bounds(np.ones(0)) == () and spread(np.ones(0)) == 0 == spread(np.zeros(5))
