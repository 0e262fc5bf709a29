"""Python files of the user's, which run only when they are named: `FILE.py:NAME`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded", "load_name"]


def load_name(path: str, name: str, what: str, kind: str) -> Any:
    """Runs a Python file and returns what it calls `name`.

    Args:
        path: the file.
        name: a name that its module has when it has run.
        what: what messages call it, as `metric`.
        kind: what it should be, as `function or class`.

    Raises:
        OptionError: there is no such file, it has no such name, or it fails when it is run.
    """
    if not Path(path).is_file():
        raise OptionError("there is no such file", where=path, fix="check the path")
    spec = importlib.util.spec_from_file_location(f"_{what.replace(' ', '_')}_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise OptionError("this is not a Python file", where=path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles in the file look their module up by name.
    sys.modules[spec.name] = module
    loader = spec.loader
    guarded(path, name, what, lambda: loader.exec_module(module))
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise OptionError(
            f"there is no {kind} {name!r}",
            where=path,
            fix=did_you_mean(name, known) or (f"name one that is there: {', '.join(known)}" if known else ""),
        )
    return getattr(module, name)


def guarded(path: str, name: str, what: str, function: Callable[[], Any]) -> Any:
    """Calls the user's code; whatever it raises becomes an error that names the line in the user's file.

    Raises:
        OptionError: the code raises.
    """
    try:
        return function()
    # A script that calls sys.exit must not end the run without a word.
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        # Python names an imported file by its absolute path, however it was given.
        file = Path(path).resolve()
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == file]
        line = f", line {frames[-1].lineno}" if frames else ""
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise OptionError(f"the {what} {name!r} failed: {told}", where=f"{path}{line}") from error
