"""Test data in two halves: steps are chosen on one, and the result is reported on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Halves", "halves_of"]


@dataclass(frozen=True)
class Halves:
    """Positions of samples in the data.

    Attributes:
        choosing: those on which steps are chosen.
        reporting: those on which the result is reported.
    """

    choosing: tuple[int, ...]
    reporting: tuple[int, ...]


def halves_of(hashes: Sequence[str]) -> Halves:
    """Every other sample in the order of content hashes, so that neither names nor order matter.

    Samples that are alike are in one half.

    Args:
        hashes: of the samples, in the order of the data.

    Raises:
        DataError: there are not two different samples.
    """
    ranks = {digest: rank for rank, digest in enumerate(sorted(set(hashes)))}
    if len(ranks) < 2:
        raise DataError(
            f"the test data holds {len(hashes)} samples, and not two that differ: one half of them is for choosing "
            "steps and the other for the report",
            fix="give more samples",
        )
    sides: tuple[list[int], list[int]] = ([], [])
    for at, digest in enumerate(hashes):
        sides[ranks[digest] % 2].append(at)
    return Halves(tuple(sides[0]), tuple(sides[1]))
