"""Data from a Python file, as Polygraphy takes it: `loader.py`, or `loader.py:function`.

The file runs only when it is named as data; a Python file in a directory of data never does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from onnx_trtcal.data.iterables import elements_of
from onnx_trtcal.support.user_code import guarded, load_name

__all__ = ["is_loader", "load_data"]

_SCRIPT = re.compile(r"(?P<path>.+\.py)(:(?P<name>\w+))?")
_DEFAULT = "load_data"
_WHAT = "data loader"


def is_loader(text: str) -> bool:
    """Whether a path names a Python file, and perhaps a function in it."""
    return _SCRIPT.fullmatch(text) is not None and not Path(text).is_dir()


def load_data(text: str) -> Any:
    """What the file gives as data: its function, or whatever else the name stands for there.

    Args:
        text: `file.py:name`; without a name it is `load_data`, Polygraphy's default.

    Raises:
        OptionError: there is no such file or name, or the file fails when it is run. Reading the data raises it,
            naming the line, where the function fails.
    """
    match = _SCRIPT.fullmatch(text)
    path, name = (match["path"], match["name"] or _DEFAULT) if match else (text, _DEFAULT)
    found = load_name(path, name, _WHAT, "function or data")
    return _Loader(path, name, found) if callable(found) and not isinstance(found, Iterable) else found


class _Loader:
    """Calls the function at each pass; its errors name the line in the user's file."""

    def __init__(self, path: str, name: str, function: Callable[[], Any]) -> None:
        self._path, self._name, self._function = path, name, function

    def __iter__(self) -> Iterator[Any]:
        result = guarded(self._path, self._name, _WHAT, self._function)
        iterator = iter(elements_of(result).start())
        end = object()
        while (element := guarded(self._path, self._name, _WHAT, lambda: next(iterator, end))) is not end:
            yield element
