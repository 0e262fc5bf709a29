"""Which threshold to take, given the error that each of them causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["choose", "promising", "smoothed"]

_BANDWIDTH = 0.25  # octaves
_RIDGE = 1e-3  # keeps the fit defined where there are fewer neighbours than coefficients
# Low enough to save work, high enough that the parabolas still see both walls of the valley.
_HOPELESS = 30.0
# Unseen samples reach further than those at hand: of thresholds whose errors differ by less than a twentieth,
# the larger one is safer.
_ALIKE = 0.05


def choose(thresholds: Mapping[str, float], errors: Mapping[str, float]) -> str | None:
    """The candidate with the largest threshold among those with about the least smoothed error.

    About means within a twentieth: so much is luck, and unseen samples are clipped more than those at hand.

    Args:
        thresholds: candidate -> threshold, positive.
        errors: candidate -> relative error power, for some or all of the candidates.

    Returns:
        The candidate's name; None where no candidate makes any difference.
    """
    if not errors or max(errors.values()) <= 0:
        return None
    values = smoothed({name: thresholds[name] for name in errors}, errors)
    limit = min(values.values()) + _ALIKE
    return max((name for name in values if values[name] <= limit), key=lambda name: thresholds[name])


def smoothed(thresholds: Mapping[str, float], errors: Mapping[str, float]) -> dict[str, float]:
    """log(error) at each candidate, on a parabola fitted to it and its neighbours over log2(threshold).

    Local quadratic regression (Cleveland and Devlin 1988, doi:10.1080/01621459.1988.10478639) with Gaussian
    weights, a standard deviation of a quarter of an octave. A candidate without error counts as one of
    1e-12 of the largest error.
    """
    names = list(errors)
    x = np.log2(np.array([thresholds[name] for name in names], dtype=np.float64))
    e = np.array([errors[name] for name in names], dtype=np.float64)
    y = np.log(np.maximum(e, 1e-12 * e.max()))
    found = {}
    for name, at in zip(names, x, strict=True):
        weight = np.exp(-0.25 * ((x - at) / _BANDWIDTH) ** 2)  # square root of the Gaussian weight
        powers = np.stack([np.ones_like(x), x - at, (x - at) ** 2], axis=1)
        # The level is left out of the ridge, so that the units of the error do not matter.
        system = np.concatenate([powers * weight[:, None], _RIDGE * np.eye(3)[1:]])
        wanted = np.concatenate([y * weight, np.zeros(2)])
        found[name] = float(np.linalg.lstsq(system, wanted, rcond=None)[0][0])
    return found


def promising(errors: Mapping[str, float]) -> list[str]:
    """The candidates whose error is at most 30 times the least, in the order given."""
    least = min(errors.values())
    return [name for name, error in errors.items() if error <= _HOPELESS * least]
