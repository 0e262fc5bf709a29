"""Names of inputs as files, folders and archive keys spell them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from onnx_trtcal.errors import DataError, did_you_mean
from onnx_trtcal.support.files import natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = ["file_name", "match_inputs", "missing_inputs", "path_key", "posix_name"]


def match_inputs(inputs: Sequence[InputSpec], found: Iterable[str]) -> dict[str, str]:
    """Which of the found names stands for which input: {input name: found name}.

    An exact match wins; else a name in which `_` replaces what file systems refuse (`/`, `:` and the like)
    does, unless two inputs would share it.
    """
    candidates = sorted(found)
    exact = {spec.name: spec.name for spec in inputs if spec.name in candidates}
    plain = [_plain(spec.name) for spec in inputs]
    for spec in inputs:
        form = _plain(spec.name)
        near = [name for name in candidates if _plain(name) == form and name not in exact.values()]
        if spec.name not in exact and plain.count(form) == 1 and len(near) == 1:
            exact[spec.name] = near[0]
    return exact


def missing_inputs(
    inputs: Sequence[InputSpec], matched: Iterable[str], found: Iterable[str], kind: str, where: str
) -> DataError:
    """The error for inputs that nothing stands for, with the nearest name that was found."""
    known = set(matched)
    missing = [spec.name for spec in inputs if spec.name not in known]
    names = sorted(found)
    hints = [did_you_mean(name, names) for name in missing]
    close = "; ".join(f"{name!r}: {hint}" for name, hint in zip(missing, hints, strict=True) if hint)
    return DataError(
        f"no {kind} for the model's input{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}: "
        f"found {', '.join(map(repr, names[:8])) or 'none'}{', …' * (len(names) > 8)}",
        where=where,
        fix=close or f"name each {kind} after the input it is for: {', '.join(map(file_name, inputs))}",
    )


def file_name(spec: InputSpec) -> str:
    """How files, folders and keys spell an input's name: with `_` for what file systems refuse."""
    return _plain(spec.name)


def posix_name(path: Path) -> str:
    """A relative path with `/`, printable whatever bytes the file system holds: the same on all systems."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def path_key(path: Path) -> tuple[object, ...]:
    """Natural order, folder by folder."""
    return tuple(natural_key(part) for part in path.parts)


def _plain(name: str) -> str:
    return re.sub(r'[/\\:*?"<>|\s]', "_", name)
