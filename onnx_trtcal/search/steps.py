"""How many steps a search makes, and what it remembers of them so that it can be resumed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from onnx_trtcal.support.noted import read_noted, write_noted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Journal", "Steps"]


class Journal:
    """What was measured, in a file from which a killed search resumes.

    Args:
        path: the file; None to keep nothing.
        key: identifies the search; what another one has left is ignored.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path = path
        self._key = key
        self._found: dict[str, Any] = _read(path, key) if path else {}

    def holds(self, name: str) -> bool:
        """Whether this was measured already."""
        return name in self._found

    def recall(self, name: str, measure: Callable[[], Any]) -> Any:
        """What was measured under a name, now or before the search was interrupted.

        Args:
            name: what is measured.
            measure: returns lists, strings and numbers only; floats come back as they were.
        """
        if name not in self._found:
            self._found[name] = measure()
            if self._path is not None:
                write_noted(self._path, {"search": self._key, "found": self._found})
        return self._found[name]


class Steps:
    """Decides whether there is another step.

    Without a limit there is one while the runs that it takes are left, which depends on the sizes of the model and the
    data only. `seconds` asks the clock instead; `most` repeats what either came to.

    Args:
        runs: so many runs of the network may be taken; a number of steps or seconds overrides it.
        most: so many steps, whatever they cost; None for no limit.
        seconds: so long; None for no limit. Not looked at where `most` is given.
        now: the clock.

    Attributes:
        done: the steps that were taken.
        used: the runs of the network that were taken.
    """

    def __init__(
        self,
        runs: float,
        most: int | None = None,
        seconds: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs, self._most, self._seconds, self._now = runs, most, seconds, now
        self._started = now()
        self._measured = 0.0
        self._advance: Callable[[int], None] = _ignore
        self._reported = 0
        self.done = 0
        self.used = 0.0

    @property
    def expected(self) -> int | None:
        """How many runs there will be; None where steps or the clock decide."""
        return int(self._runs) if self._most is None and self._seconds is None else None

    def report_to(self, advance: Callable[[int], None]) -> None:
        """Lets a progress bar know of every run."""
        self._advance = advance

    def spend(self, runs: float, *, measured: bool = True) -> None:
        """Counts runs of the network.

        Args:
            runs: how many.
            measured: whether they were done just now, and not before the search was interrupted.
        """
        self.used += runs
        self._advance(int(self.used) - self._reported)
        self._reported = int(self.used)
        self._measured += runs if measured else 0.0

    def another(self, runs: float, reserve: float) -> bool:
        """Whether to take another step; it is counted as taken then.

        Args:
            runs: how many runs of the network it takes.
            reserve: how many will be needed after the last step.
        """
        wanted = self._is_wanted(runs, reserve)
        self.done += wanted
        return wanted

    def _is_wanted(self, runs: float, reserve: float) -> bool:
        if self._most is not None:
            return self.done < self._most
        if self._seconds is None:
            return self.used + runs + reserve <= self._runs
        elapsed = self._now() - self._started
        each = elapsed / self._measured if self._measured else 0.0
        return elapsed + (runs + reserve) * each <= self._seconds


def _ignore(_: int) -> None:
    pass


def _read(path: Path, key: str) -> dict[str, Any]:
    """What another search, or nobody, has left there counts as nothing."""
    noted = read_noted(path)
    return dict(noted["found"]) if noted.get("search") == key else {}
