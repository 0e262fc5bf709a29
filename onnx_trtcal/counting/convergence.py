"""How far the scales move while samples are collected: when to look, and whether they have settled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.stats.collection import Collection

__all__ = ["FIRST_VERDICT", "Movement", "Watch", "final_marks", "growing_marks", "moved"]

Thresholds: TypeAlias = Mapping[str, float]

# Fewer samples than this say nothing about those to come, however little the scales move.
FIRST_VERDICT = 64


@dataclass(frozen=True)
class Movement:
    """How far the scales moved over the last samples.

    Attributes:
        most: the largest relative change of a threshold, |new - old| / old.
        tensor: the observed tensor it happened to.
        last: over how many samples.
        total: out of how many.
    """

    most: float
    tensor: str
    last: int
    total: int


def moved(before: Mapping[str, float], after: Mapping[str, float], last: int, total: int) -> Movement:
    """The movement between the thresholds before the `last` of `total` samples and those after them."""
    changes = [(_change(before[name], new), name) for name, new in after.items()]
    most, tensor = max(changes, default=(0.0, ""))
    return Movement(most, tensor, last, total)


def final_marks(total: int) -> frozenset[int]:
    """The sample counts that enclose the last quarter of `total` samples; none when they are too few to tell."""
    return frozenset({total * 3 // 4, total}) if total >= FIRST_VERDICT else frozenset()


def growing_marks() -> frozenset[int]:
    """Sample counts each a third larger than the one before: the first verdict falls at 64."""
    found = [FIRST_VERDICT * 3 // 4, FIRST_VERDICT]
    while found[-1] < 1 << 40:
        found.append(-(-found[-1] * 4 // 3))
    return frozenset(found)


@dataclass
class _Looks:
    """What was seen at the marks: (samples, thresholds), and the samples at the last of them."""

    taken: list[tuple[int, Thresholds]] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)


class Watch:
    """Takes the thresholds of a growing collection at the marks, and says when they have settled.

    Every look is written to a file before the checkpoint it belongs to, so that a resumed run has all looks its
    checkpoint had, and stops at the sample where it would have stopped uninterrupted.

    Args:
        solve: the thresholds of a collection.
        marks: the sample counts to look at.
        until_stable: stop when no threshold moved by more than this between two looks; None never to stop.
        path: the file for the looks; None to keep none.
        job: whatever decides where a run stops, besides its samples; looks of another job are ignored.

    Attributes:
        movement: between the last two looks; None before the second.
    """

    def __init__(
        self,
        solve: Callable[[Collection], Thresholds],
        marks: Iterable[int],
        until_stable: float | None,
        path: Path | None,
        job: Mapping[str, object],
    ) -> None:
        self.movement: Movement | None = None
        self._solve = solve
        self._marks = sorted(marks)
        self._until_stable = until_stable
        self._path = path
        self._job = json.loads(json.dumps(job))
        self._looks = _Looks()
        self._total = 0

    def resume(self, collection: Collection) -> bool:
        """Reads the looks that led to this collection; an empty one has none.

        Returns:
            Whether the run may resume from it: not where it might have stopped earlier, had it been watched.
        """
        samples = collection.samples
        self._looks = self._read(samples)
        self._total = len(samples)
        self._measure()
        last = self._looks.taken[-1][0] if self._looks.taken else 0
        missed = any(last < mark <= self._total for mark in self._marks)
        return not (missed and self._until_stable)

    @property
    def settled(self) -> bool:
        """Whether it is time to stop."""
        if self._until_stable is None or self.movement is None or self.movement.total < self._total:
            return False
        return self.movement.most <= self._until_stable

    def look(self, collection: Collection, added: int) -> None:
        """Notes that `added` more samples are in the collection; looks once a batch has reached or passed a mark."""
        before, self._total = self._total, self._total + added
        if not any(before < mark <= self._total for mark in self._marks):
            return
        self._looks.taken.append((self._total, self._solve(collection)))
        self._looks.samples = collection.samples
        self._measure()
        self._write()

    def _measure(self) -> None:
        self.movement = None
        if len(self._looks.taken) > 1:
            (first, before), (total, after) = self._looks.taken[-2:]
            self.movement = moved(before, after, total - first, total)

    def _read(self, samples: list[tuple[str, str]]) -> _Looks:
        try:
            read = parse_json(self._path.read_bytes()) if self._path and samples else {}
            taken = [(int(total), dict(thresholds)) for total, thresholds in read.get("looks", [])]
            noted = [(str(name), str(digest)) for name, digest in read.get("samples", [])]
        except (OSError, ValueError, TypeError, AttributeError):
            return _Looks()
        # Both are the first samples of the same data, so the shorter one must be part of the longer.
        shorter, longer = sorted((set(noted), set(samples)), key=len)
        if read.get("job") != self._job or not shorter <= longer:
            return _Looks()
        return _Looks([look for look in taken if look[0] <= len(samples)], noted)

    def _write(self) -> None:
        if self._path is not None:
            content = {"job": self._job, "looks": self._looks.taken, "samples": self._looks.samples}
            atomic_write(self._path, json.dumps(content).encode())


def _change(old: float, new: float) -> float:
    if old == new:
        return 0.0
    return abs(new - old) / old if old > 0 else float("inf")
