"""What is compared: models, data and labels, from a file."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Case", "read_cases"]


@dataclass(frozen=True)
class Case:
    """One model; see tools/compare_tools.py."""

    name: str
    model: str
    calibration: str
    test: str
    labels: str = ""
    metric: str = ""
    task: str = ""
    head: str = ""
    batch: int = 8
    shape: tuple[int, ...] = ()


def read_cases(path: Path, only: Sequence[str] | None) -> list[Case]:
    """The cases of a file, or those of them that are named."""
    text = path.read_text(encoding="utf-8")
    read = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    cases = [Case(**_resolved(entry, path.parent)) for entry in read["case"]]
    chosen = [case for case in cases if not only or case.name in only]
    if not chosen:
        raise SystemExit(f"{path} has no such case; it has {', '.join(case.name for case in cases)}")
    return chosen


def _resolved(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    paths = {"model", "calibration", "test", "labels", "metric"}
    resolved: dict[str, Any] = {
        key: str((folder / str(value)).resolve()) if key in paths and value else value
        for key, value in entry.items()
    }
    resolved["shape"] = tuple(resolved.get("shape", ()))
    return resolved
