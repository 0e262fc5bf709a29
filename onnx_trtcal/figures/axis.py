"""Ticks of axes."""

from __future__ import annotations

import math

__all__ = ["count_ticks", "short_count", "ticks"]

_UNITS = ("", "k", "M", "G", "T", "P", "E")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends, `most` at most; none where the ends are one."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return []
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    if not power:  # below what a float can hold
        return []
    step = next((times * power for times in (1, 2, 2.5, 5, 10) if times * power >= rough * (1 - 1e-9)), span)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def count_ticks(top: int, most: int = 5) -> list[int]:
    """Powers of ten up to a count, from 1 on, `most` at most."""
    powers = len(str(max(top, 1)))
    every = -(-powers // most)
    return [10**power for power in range(0, powers, every)]


def short_count(count: int) -> str:
    """A count that is a power of ten in a few characters: `1`, `100`, `10k`, `1M`."""
    unit = min((len(str(count)) - 1) // 3, len(_UNITS) - 1)
    return f"{count // 1000**unit}{_UNITS[unit]}"
