"""Which axes of its input an axis of a reshaped tensor is made of.

Sizes may be numbers, symbolic names, or unknown: an answer needs what lies to the left of the axis in both shapes, or
what lies to the right of it, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AxisSource", "axis_source"]

Dims = tuple[int | str | None, ...]
# A product of sizes: its number, and the symbolic names in it.
_Product = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class AxisSource:
    """Where the positions along an axis come from.

    Attributes:
        axes: the axes of the input, ascending.
        inside: the axis is a factor of the one axis in `axes`, rather than all of them together.
    """

    axes: tuple[int, ...]
    inside: bool = False


def axis_source(before: Dims, after: Dims, axis: int) -> AxisSource | None:
    """The source of an axis in a reshape that keeps the order of values; None where it has none, or it is not known.

    A 1x255xHxW tensor reshaped to 1x3x85xHxW has its axes 1 and 2 inside axis 1; one reshaped to 1x255xHW has its
    axis 1 from axis 1 and its axis 2 from axes 2 and 3.

    Args:
        before: shape of the input.
        after: shape of the output.
        axis: of the output, not negative; one of length 1 has no source.
    """
    if after[axis] in (1, None):
        return None
    found = _from_right(before, after, axis)
    if found is None:
        last = len(before) - 1
        mirrored = _from_right(before[::-1], after[::-1], len(after) - 1 - axis)
        found = mirrored and AxisSource(tuple(last - each for each in mirrored.axes[::-1]), mirrored.inside)
    return found


def _from_right(before: Dims, after: Dims, axis: int) -> AxisSource | None:
    below = _product(after[axis + 1 :])
    size = _product((after[axis],))
    if below is None or size is None:
        return None
    for last in range(len(before) - 1, -1, -1):
        under = _product(before[last + 1 :])
        rest = under and _quotient(below, under)
        if rest is None:
            continue
        if rest == (1, ()) and (axes := _together(before, last, size)):
            return AxisSource(axes)
        length = _product((before[last],))
        if length and length != (1, ()) and _quotient(length, _times(rest, size)) is not None:
            return AxisSource((last,), inside=True)
    return None


def _together(before: Dims, last: int, size: _Product) -> tuple[int, ...]:
    """The neighbouring axes up to `last` that make up a size, those of length 1 left out; () when none do."""
    for first in range(last, -1, -1):
        product = _product(before[first : last + 1])
        if product is None:
            return ()
        if product == size:
            return tuple(at for at in range(first, last + 1) if before[at] != 1)
    return ()


def _product(dims: Dims) -> _Product | None:
    number, names = 1, []
    for dim in dims:
        if dim is None:
            return None
        if isinstance(dim, str):
            names.append(dim)
        else:
            number *= dim
    return number, tuple(sorted(names))


def _times(one: _Product, other: _Product) -> _Product:
    return one[0] * other[0], tuple(sorted((*one[1], *other[1])))


def _quotient(whole: _Product, part: _Product) -> _Product | None:
    """The quotient where it is a product of sizes itself."""
    names = list(whole[1])
    for name in part[1]:
        if name not in names:
            return None
        names.remove(name)
    if part[0] == 0 or whole[0] % part[0]:
        return None
    return whole[0] // part[0], tuple(names)
