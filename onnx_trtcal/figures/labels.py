"""Labels that fit and do not overlap."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.figures.svg import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Flag", "Layout", "Place", "place_flags", "shortened", "text_width"]

_NARROW = set("fijlrtI.,:;'|![]()/ ")
_LEAST_WIDE = 12.0 * 0.42  # user units of a character
_GAP = 4.0  # between a leader and its text, and between a text and the next


def text_width(words: str, *, bold: bool = False) -> float:
    """How wide a text is at most, in user units: that of a wide font, since the font is the reader's."""
    return (13.6 if bold else 12.0) * sum(map(_em, plain(words)))


def shortened(words: str, width: float, *, bold: bool = False) -> str:
    """The text without its middle where it is wider than `width`; both ends of a tensor's name tell something."""
    words = plain(words)
    if text_width(words, bold=bold) <= width:
        return words
    # No character is narrower: without that bound, a name of ten thousand characters would take seconds.
    keep = min(len(words), int(width / _LEAST_WIDE) + 2)
    while keep > 2:
        keep -= 1
        cut = f"{words[: (keep + 1) // 2]}…{words[len(words) - keep // 2 :]}"
        if text_width(cut, bold=bold) <= width:
            return cut
    return "…"


@dataclass(frozen=True)
class Flag:
    """A label that hangs on a vertical leader.

    Attributes:
        x: of the leader.
        width: of the text.
    """

    x: float
    width: float


@dataclass(frozen=True)
class Place:
    """Where a flag's text goes.

    Attributes:
        row: counted from the lowest, 0, upwards; the leader ends there.
        leftwards: whether the text ends at the leader rather than begins there.
    """

    row: int
    leftwards: bool


@dataclass(frozen=True)
class Layout:
    """Where all flags of a figure go.

    Attributes:
        places: of each flag.
        excess: by how much texts stick out over the borders, in user units; 0 where everything fits, very large where
            a leader crosses a text.
    """

    places: list[Place]
    excess: float


def place_flags(flags: Sequence[Flag], left: float, right: float) -> Layout:
    """Rows and sides such that no text covers another, and no leader crosses a text.

    The first few flags, from the left, point to the right, and the others to the left: of all such splits the one that
    stays between the borders and needs the fewest rows.

    Args:
        flags: in order of x.
        left: the border that texts should stay behind.
        right: the border on the other side.
    """
    best: tuple[tuple[float, int, int], Layout] | None = None
    for split in range(len(flags) + 1):
        boxes = [_box(flag, leftwards=at >= split) for at, flag in enumerate(flags)]
        rows = _rows([flag.x for flag in flags], boxes)
        outside = sum(max(left - box[0], 0) + max(box[1] - right, 0) for box in boxes)
        if rows is None:
            # Two texts that each cover the other's leader: kept apart, but crossed.
            rows, outside = list(range(len(flags))), outside + 1e6
        cost = (outside, max(rows, default=0), sum(rows))
        if best is None or cost < best[0]:
            best = cost, Layout([Place(row, leftwards=at >= split) for at, row in enumerate(rows)], outside)
    assert best is not None
    return best[1]


def _rows(leaders: Sequence[float], boxes: Sequence[tuple[float, float]]) -> list[int] | None:
    """The lowest row for each box: above the leaders that it covers, and beside the boxes that it overlaps.

    None where two boxes would have to be above one another.
    """
    count = len(boxes)
    below = {
        at: {other for other in range(count) if other != at and boxes[at][0] < leaders[other] < boxes[at][1]}
        for at in range(count)
    }
    rows: dict[int, int] = {}
    while len(rows) < count:
        # From the right, so that flags on one leader are stacked in order.
        ready = [at for at in reversed(range(count)) if at not in rows and below[at] <= rows.keys()]
        if not ready:
            return None
        at = ready[0]
        taken = {
            rows[other] for other in rows if boxes[at][0] < boxes[other][1] and boxes[other][0] < boxes[at][1]
        }
        row = max((rows[other] + 1 for other in below[at]), default=0)
        while row in taken:
            row += 1
        rows[at] = row
    return [rows[at] for at in range(count)]


def _box(flag: Flag, *, leftwards: bool) -> tuple[float, float]:
    reach = flag.width + 2 * _GAP
    return (flag.x - reach, flag.x) if leftwards else (flag.x, flag.x + reach)


def _em(char: str) -> float:
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return 1.0
    if char in _NARROW:
        return 0.42
    return 0.98 if char in "mwMW@%…→" else 0.74 if char.isupper() else 0.635
