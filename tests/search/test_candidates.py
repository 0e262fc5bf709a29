"""The best candidate is found without trying all of them, and for each channel by itself."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.search.candidates import UNCHANGED, best_places, factors


def valleys(centres: np.ndarray, tried: list[int]):
    """Similarities that fall with the distance from a centre, one per channel."""

    def measure(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tried.append(len(places))
        return 1 - 1e-4 * (places - centres) ** 2.0, np.zeros(places.shape)

    return measure


def test_factors_are_those_of_the_paper() -> None:
    assert factors()[[0, -1]].tolist() == [0.5, 2.0]
    assert factors()[UNCHANGED] == pytest.approx(1.0)
    assert len(factors()) == 100


@pytest.mark.parametrize(("thorough", "most"), [(False, 16), (True, 100)])
def test_every_channel_gets_its_own(thorough: bool, most: int) -> None:
    centres, tried = np.arange(100), []
    start = np.full(100, UNCHANGED)
    found = best_places(valleys(centres, tried), start, 0.0, near=False, thorough=thorough)
    np.testing.assert_array_equal(found, centres)
    assert sum(tried) == most


@pytest.mark.parametrize(("thorough", "reach"), [(False, 1), (True, 4)])
def test_near_is_next_to_the_current_one(thorough: bool, reach: int) -> None:
    current, centres = np.array([10, 50, 98]), np.array([90, 51, 99])
    found = best_places(valleys(centres, []), current, 0.0, near=True, thorough=thorough)
    np.testing.assert_array_equal(found, [10 + reach, 51, 99])


def test_of_equal_ones_the_second_figure_decides_and_what_nothing_tells_apart_stays() -> None:
    def measure(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        similar = np.where(places > 40, 1.0, 0.5)
        similar[:, 1] = 0.7
        return similar + 1e-9 * places, np.abs(places - 60.0)

    found = best_places(measure, np.array([3, 7]), 1e-7, near=False, thorough=True)
    assert found[0] == 60

    def flat(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(places.shape), places.astype(float)

    assert best_places(flat, np.array([7]), 0.0, near=False, thorough=False).tolist() == [7]
