"""What the steps of a run depend on, as one digest: notes of another run are not resumed from."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.support.files import sha256_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.tuning.options import TuneOptions

__all__ = ["key_of"]

_FORM = 4
"""Another number where steps would come to something else by the same request."""


def key_of(model: str, counted: Sequence[str], tested: Sequence[str], request: TuneOptions) -> str:
    """The digest.

    Args:
        model: SHA-256 of the float model.
        counted: content hashes of the samples to calibrate on.
        tested: those of the test data, in their order, which labels may go by.
        request: the target and the options; how long the run may take does not matter.
    """
    files = [_content(path) for path in (request.labels, request.metric.rpartition(":")[0])]
    options = replace(request.options, budget=None)
    asked = repr(replace(request, budget=None, notes=None, options=options))
    parts = [str(_FORM), model, *sorted(counted), "", *tested, *files, asked]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _content(path: object) -> str:
    """A digest of a file, or of the names and sizes in a folder; of what is in memory its text."""
    if not isinstance(path, str | Path) or not path:
        return repr(path)
    found = Path(path)
    if found.is_dir():
        files = sorted(each for each in found.rglob("*") if each.is_file())
        return repr([(str(each.relative_to(found)), each.stat().st_size) for each in files])
    return sha256_file(found) if found.is_file() else str(path)
