"""SQNR in words and as a length."""

from __future__ import annotations

import math

__all__ = ["decibels_text", "noise_share"]


def noise_share(sqnr: float | None) -> float:
    """The noise's amplitude as a share of the signal's, 10^(-dB / 20), at most 1; 0 where nothing is known."""
    if sqnr is None or math.isnan(sqnr):
        return 0.0
    return 1.0 if sqnr <= 0 else 10 ** (-sqnr / 20)


def decibels_text(sqnr: float | None) -> str:
    """An SQNR as text."""
    if sqnr is None or math.isnan(sqnr):
        return "not compared"
    if sqnr == math.inf:
        return "exact"
    return "nothing but noise" if sqnr == -math.inf else f"{sqnr:.1f} dB"
