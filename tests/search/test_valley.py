"""The bottom of a valley, known from a formula."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.search.valley import clipping_error, lowest, lowest_for_all, walk_down


def law(place: np.ndarray | float, bottom: float, power: float = 6) -> np.ndarray:
    """Rounding and clipping error with the least sum at `bottom`."""
    return np.asarray(4.0 ** (place - bottom) + 2 / power * 2.0 ** (-power * (place - bottom)))


@pytest.mark.parametrize("bottom", [-2.0, -0.9, -0.3, 0.0, 0.2, 0.6, 1.7])
def test_the_bottom_is_found_wherever_it_is(bottom: float) -> None:
    asked: list[float] = []

    def errors(places: list[float]) -> np.ndarray:
        asked.extend(places)
        return law(np.array(places), bottom)

    found = walk_down(errors, most=3.0)
    assert len(asked) == len(set(asked)) <= 12
    # Within a fiftieth of the least, the larger threshold is taken.
    assert bottom - 0.02 <= lowest(found) <= bottom + 0.15


def test_nothing_above_the_largest_magnitude_is_tried() -> None:
    asked: list[float] = []

    def errors(places: list[float]) -> np.ndarray:
        asked.extend(places)
        return law(np.array(places), 5.0)

    found = walk_down(errors, most=0.37)
    assert max(asked) == 0.37
    assert lowest(found) == pytest.approx(0.37)
    assert max(walk_down(errors, most=0.05)) == 0.0


def test_luck_moves_the_bottom_little() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        found = walk_down(
            lambda places: law(np.array(places), -0.4) * np.exp(rng.normal(0, 0.1, len(places))), 2.0
        )
        assert law(lowest(found), -0.4) <= 1.25 * law(-0.4, -0.4)


def test_samples_that_clip_less_than_the_others_do_not_mislead() -> None:
    rng = np.random.default_rng(0)
    few, everything = np.abs(rng.laplace(size=2000)), np.abs(rng.standard_t(3, size=50000))

    def clipped(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        thresholds = 8 * 2.0**places
        return clipping_error(few, thresholds) / few.size, clipping_error(
            everything, thresholds
        ) / everything.size

    def error(places: np.ndarray, which: int) -> np.ndarray:
        return 0.002 * 4.0**places + 3 * clipped(places)[which]

    found = walk_down(lambda places: error(np.array(places), 0), most=3.0)
    fine = np.linspace(-3.5, 3.0, 600)
    least = error(fine, 1).min()
    assert error(np.array([lowest_for_all(found, clipped, 3.0)]), 1)[0] <= 1.05 * least
    assert error(np.array([lowest(found)]), 1)[0] > 2 * least


def test_clipping_error_is_that_of_a_plain_sum() -> None:
    rng = np.random.default_rng(0)
    x, counts = np.abs(rng.normal(size=200)), rng.integers(0, 5, size=200)
    thresholds = np.array([0.0, 0.5, 1.0, 9.0])
    slow = [sum(c * max(v - t, 0) ** 2 for v, c in zip(x, counts, strict=True)) for t in thresholds]
    assert clipping_error(x, thresholds, counts) == pytest.approx(slow, abs=1e-9)
    assert clipping_error(np.zeros(0), thresholds) == pytest.approx([0, 0, 0, 0])
