"""Data on a lattice, and data that only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.search.lattice import lattice_step, lattice_thresholds

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("step", [1.0, 0.25, 0.5847, 3e-5])
def test_the_step_is_found(step: float) -> None:
    values = (RNG.integers(-200, 100, size=(3, 500)) * np.float32(step)).astype(np.float32)
    assert lattice_step(list(values)) == pytest.approx(step, rel=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=1000),
        RNG.integers(0, 256, size=1000) / 255 - 0.4566,
        RNG.integers(0, 2000, size=5000),
        np.zeros(9),
        np.array([np.inf, 1.0]),
    ],
)
def test_other_data_has_none(values: np.ndarray) -> None:
    assert lattice_step([values]) is None


def test_thresholds_are_whole_steps_up_to_the_first_that_clips_nothing() -> None:
    assert lattice_thresholds(1.0, 300.0) == [127.0, 254.0, 381.0]
    assert lattice_thresholds(1.0, 20.0) == [127.0]
