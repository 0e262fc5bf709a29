"""Numbers as the page writes them."""

from __future__ import annotations

import math

__all__ = ["change", "decibels", "percent", "size", "value"]


def decibels(sqnr: float | None) -> str:
    """A ratio in dB; a dash where there is none."""
    if sqnr is None or math.isnan(sqnr):
        return "–"
    if math.isinf(sqnr):
        return "exact" if sqnr > 0 else "nothing left"
    return f"{round(sqnr, 1) + 0.0:.1f} dB".replace("-", "−")


def value(number: float | None) -> str:
    """A number in the units of a tensor, in five digits."""
    return "–" if number is None else f"{number:.5g}"


def percent(share: float | None) -> str:
    """A share, with as many digits as it takes to be told from 0."""
    if share is None:
        return "–"
    if share == 0:
        return "0"
    if share < 0.0001:
        return "<0.01 %"
    return f"{100 * share:.3g} %" if share < 0.1 else f"{100 * share:.1f} %"


def change(ratio: float) -> str:
    """What something was multiplied by: in percent, or as a factor where it at least doubled."""
    if abs(ratio - 1) < 0.0005:
        return "same"
    if ratio >= 2:
        return f"×{ratio:.3g}"
    return f"{100 * (ratio - 1):+.1f} %".replace("-", "−")


def size(count: int) -> str:
    """Bytes in decimal units, as file managers show them."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} bytes"
