"""What a run notes for itself, to resume from when it is cut off: a JSON file that tells when it is damaged."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_noted", "write_noted"]


def write_noted(path: Path, noted: Mapping[str, Any]) -> None:
    """Writes what JSON can hold, with its hash.

    Raises:
        CalibrationError: the file cannot be written.
    """
    atomic_write(path, json.dumps({"sha256": _sha256(noted), "noted": noted}, indent=1).encode())


def read_noted(path: Path) -> dict[str, Any]:
    """What `write_noted` wrote; empty where there is no such file, or one that is damaged."""
    try:
        read = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    noted = read.get("noted") if isinstance(read, dict) else None
    return noted if isinstance(noted, dict) and read.get("sha256") == _sha256(noted) else {}


def _sha256(noted: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(noted).encode()).hexdigest()
