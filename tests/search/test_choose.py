"""The choice among candidates: smoothing against a slow fit, and what noise must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnx_trtcal.search.choose import choose, promising, smoothed


def slow_level(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """The level at `at` of the weighted, slightly ridged parabola, by its normal equations."""
    powers = np.array([[1.0, v - at, (v - at) ** 2] for v in x])
    weights = np.array([math.exp(-((v - at) ** 2) / (2 * 0.25**2)) for v in x])
    normal = sum(w * np.outer(p, p) for w, p in zip(weights, powers, strict=True))
    right = sum(w * v * p for w, v, p in zip(weights, y, powers, strict=True))
    normal = normal + 1e-6 * np.diag([0.0, 1.0, 1.0])
    return float(np.linalg.solve(normal, right)[0])


def test_smoothing_is_a_local_parabola() -> None:
    rng = np.random.default_rng(0)
    thresholds = {str(k): 2.0 ** (-k / 4) for k in range(12)}
    errors = {name: math.exp(rng.normal()) for name in thresholds}
    found = smoothed(thresholds, errors)
    x = np.log2(list(thresholds.values()))
    y = np.log(list(errors.values()))
    for name, at in zip(thresholds, x, strict=True):
        assert found[name] == pytest.approx(slow_level(x, y, at), abs=1e-6)


def test_the_unit_of_the_error_does_not_matter() -> None:
    thresholds = {"a": 1.0, "b": 0.8, "c": 0.5}
    errors = {"a": 3.0, "b": 2.0, "c": 4.0}
    one = smoothed(thresholds, errors)
    other = smoothed(thresholds, {name: error * 1e-9 for name, error in errors.items()})
    for name in thresholds:
        assert other[name] - one[name] == pytest.approx(math.log(1e-9))


def test_the_bottom_of_a_noisy_valley_is_found() -> None:
    thresholds = {str(k): 2.0 ** (-k / 4) for k in range(15)}
    valley = {name: t**2 + 0.002 * t**-4 for name, t in thresholds.items()}
    rng = np.random.default_rng(1)
    best = min(valley.values())
    for _ in range(50):
        noisy = {name: error * math.exp(rng.normal(0, 0.2)) for name, error in valley.items()}
        assert valley[choose(thresholds, noisy)] <= 1.5 * best


def test_without_any_error_there_is_no_choice() -> None:
    assert choose({"a": 1.0, "b": 2.0}, {}) is None
    assert choose({"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 0.0}) is None
    assert choose({"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 1.0}) == "a"


def test_only_what_is_far_off_is_dropped() -> None:
    assert promising({"a": 1.0, "b": 30.0, "c": 31.0, "d": 2.0}) == ["a", "b", "d"]
    assert promising({"a": 0.0, "b": 0.0, "c": 1.0}) == ["a", "b"]


def test_of_errors_about_alike_the_larger_threshold_is_taken() -> None:
    thresholds = {"a": 1.0, "b": 0.9, "c": 0.2}
    assert choose(thresholds, {"a": 1.02, "b": 1.0, "c": 9.0}) == "a"
    assert choose(thresholds, {"a": 1.2, "b": 1.0, "c": 9.0}) == "b"
