"""Watches the scales settle while a collection grows, also across a kill and a resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.collect.convergence import Movement, moved
from onnx_trtcal.support.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from onnx_trtcal.stats.collection import Collection

__all__ = ["Watch"]

Thresholds = Mapping[str, float]


@dataclass
class _Looks:
    """What was seen at the marks: (samples, thresholds), and the samples at the last of them."""

    taken: list[tuple[int, Thresholds]] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)


class Watch:
    """Takes the thresholds of a growing collection at the marks, and tells when they have settled.

    Every look is noted in a file before the checkpoint it belongs to, so that a resumed run has all looks its
    checkpoint had, and stops at the sample where it would have stopped uninterrupted.

    Args:
        solve: the thresholds of a collection.
        marks: the sample counts to look at.
        until_stable: stop when no threshold moved by more than this between two looks; None never to stop.
        path: the file for the looks; None to note nothing.
        job: whatever decides where a run stops, beside its samples; looks of another job are not used.

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
        """Takes up the looks that led to this collection; starts afresh with an empty one.

        Returns:
            Whether the run may go on from it: not where it might have stopped before, had it been watched.
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
        """Says that `added` more samples are in the collection; looks at the first batch end from each mark on."""
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
            read = json.loads(self._path.read_bytes()) if self._path and samples else {}
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
