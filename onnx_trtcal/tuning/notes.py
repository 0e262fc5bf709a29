"""The notes of a run that is not done: what each step came to, in a file beside the output, so that it resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_trtcal.support.noted import read_noted, write_noted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Notes"]

_VERSION = 1


class Notes:
    """Results by name, written after each.

    Args:
        path: the file; None to keep nothing.
        key: what the results depend on, as a digest; notes with another one are begun anew.

    Attributes:
        resumed: how many results an earlier run left.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path = path
        self._key = key
        self._results: dict[str, Any] = _read(path, key) if path else {}
        self.resumed = len(self._results)

    def once(self, name: str, work: Callable[[], Any]) -> Any:
        """The result of this name: noted before, or worked out now and noted.

        Args:
            name: of the result.
            work: gives it, as plain data that JSON holds.
        """
        if name not in self._results:
            self._results[name] = work()
            self._write()
        return self._results[name]

    def _write(self) -> None:
        if self._path:
            write_noted(self._path, {"version": _VERSION, "key": self._key, "results": self._results})


def _read(path: Path, key: str) -> dict[str, Any]:
    """What the file holds, if it is of the same run."""
    noted = read_noted(path)
    fits = noted.get("version") == _VERSION and noted.get("key") == key
    return dict(noted["results"]) if fits else {}
