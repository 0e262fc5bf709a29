"""The one exception family of the package: what happened, where, and what to do about it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CHECK_PATH",
    "CacheError",
    "CalibrationError",
    "DataError",
    "ModelError",
    "NonFiniteError",
    "OptionError",
    "ProviderError",
    "StatisticsError",
    "did_you_mean",
    "listed",
]

# What to do about a file that the system does not give: it is missing, is a folder, or may not be read.
CHECK_PATH = "check the path, and that you may read the file"


class CalibrationError(Exception):
    """Base of every error a user of this package can cause.

    Args:
        what: one sentence that says what happened, with the values concerned.
        details: more about it, one line each.
        where: the file, tensor, node or sample concerned; empty when `what` already names it.
        fix: what the user can do about it; empty when there is nothing to suggest.
    """

    def __init__(self, what: str, *, details: Sequence[str] = (), where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.details = tuple(details)
        self.where = where
        self.fix = fix

    def lines(self) -> list[str]:
        """The message, line by line; names in it are as they were found, line breaks and all."""
        lines = [self.what, *(f"    {detail}" for detail in self.details)]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  to fix: {self.fix}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


class ModelError(CalibrationError):
    """The ONNX model cannot be read, run or rewritten."""


class DataError(CalibrationError):
    """Calibration data is missing, unreadable, or does not fit the model's inputs."""


class ProviderError(CalibrationError):
    """The execution provider asked for is not usable here."""


class NonFiniteError(CalibrationError):
    """NaN or Inf appeared in an activation."""


class StatisticsError(CalibrationError):
    """A statistics file is damaged, or does not belong to what it is used with."""


class CacheError(CalibrationError):
    """A calibration cache or table cannot be read or written."""


class OptionError(CalibrationError):
    """An option has a value that means nothing, or that contradicts another."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean 'x'?" for the known name nearest to `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
