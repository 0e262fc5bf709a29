"""The JSON file beside a cache, read back: what it still says, as long as it is about the bytes of that cache.

`provenance` writes it for a calibration. A cache that is made from others gets one that is made from theirs.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onnx_trtcal.data.layout import DEFAULT_BATCH_SIZE, is_fixed
from onnx_trtcal.data.seen_shapes import SeenShapes, in_batches
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.support.parsed_json import parse_json
from onnx_trtcal.trt.sidecar_check import flaw_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.support.input_spec import InputSpec

__all__ = [
    "Offer",
    "Sidecar",
    "completed_sidecar",
    "merged_sidecar",
    "read_sidecar",
    "renamed_sidecar",
    "sidecar_path",
    "versioned_sidecar",
    "write_sidecar",
]


@dataclass(frozen=True)
class Sidecar:
    """What stands beside a cache.

    Attributes:
        content: the JSON object; empty where there is no sidecar, or one that is not about the cache.
        problem: why a file that is there is ignored; empty where it is not.
    """

    content: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def unseen(self) -> frozenset[str]:
        """The tensors that held no finite value in any sample, so that their scale is made up."""
        return frozenset(name for name, item in self._tensors.items() if item.get("values") == 0)

    @property
    def zeros(self) -> frozenset[str]:
        """The tensors of which zeros were seen, and nothing else."""
        zero = {name for name, item in self._tensors.items() if item.get("threshold") == 0}
        return frozenset(zero) - self.unseen

    @property
    def model_file(self) -> str:
        """Name of the model's file; empty where it is not known."""
        return str(_table(self.content, "model").get("file") or "")

    @property
    def model_sha256(self) -> str:
        """Hash of the model; empty where it is not known."""
        return str(_table(self.content, "model").get("sha256") or "")

    def shapes(self, inputs: Sequence[InputSpec], batch_size: int | None = None) -> dict[str, SeenShapes]:
        """Per input, the smallest and the largest shape of a batch.

        Args:
            inputs: those of a model; shapes that one of them cannot have are left out, because the cache may be that of
                another version of the model.
            batch_size: the most samples in a batch, as `Options` has it; no more than were counted.
        """
        specs = {spec.name: spec for spec in inputs}
        shapes = self._shapes(batch_size or DEFAULT_BATCH_SIZE)
        return {name: seen for name, seen in shapes.items() if name in specs and _fits(specs[name], seen)}

    def _shapes(self, batch: int) -> dict[str, SeenShapes]:
        samples = _table(self.content, "data").get("samples") or batch
        found = {}
        for name, item in _table(self.content, "shapes").items():
            try:
                smallest, largest = [tuple(map(int, item[key])) for key in ("min", "max")]
            except (KeyError, TypeError, ValueError):
                continue
            axis = item.get("batch_axis")
            known = axis if isinstance(axis, int) and 0 <= axis < len(largest) else None
            found[name] = SeenShapes(smallest, largest, known)
        return in_batches(found, min(batch, int(samples)))

    @property
    def _tensors(self) -> dict[str, Any]:
        return {
            name: item for name, item in _table(self.content, "tensors").items() if isinstance(item, dict)
        }


def _fits(spec: InputSpec, seen: SeenShapes) -> bool:
    return len(spec.shape) == len(seen.largest) and all(
        not is_fixed(dim) or dim == least == most
        for dim, least, most in zip(spec.shape, seen.smallest, seen.largest, strict=True)
    )


def sidecar_path(cache: str | Path) -> Path:
    """Where the sidecar of a cache stands."""
    return Path(f"{cache}.json")


def read_sidecar(cache: str | Path) -> Sidecar:
    """The sidecar beside a cache file; an empty one where there is none, or where it is about other bytes."""
    path = sidecar_path(cache)
    try:
        text = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(Path(cache).read_bytes()).hexdigest()
    except FileNotFoundError:
        return Sidecar()
    except (OSError, UnicodeDecodeError) as error:
        return Sidecar(problem=f"{path} cannot be read and is ignored: {error}")
    try:
        content = parse_json(text)
        # Half of a character may be written as an escape, and is not text that can be written again.
        json.dumps(content, ensure_ascii=False).encode()
    except ValueError as error:
        return Sidecar(problem=f"{path} is not JSON and is ignored: {error}")
    if not isinstance(content, dict) or _table(content, "cache").get("sha256") != digest:
        return Sidecar(
            problem=f"{path} is not about this cache (it has the hash of other bytes) and is ignored"
        )
    if flaw := flaw_of(content):
        return Sidecar(problem=f"{path} is damaged and is ignored: {flaw}")
    return Sidecar(content)


def write_sidecar(cache: str | Path, table: bytes, content: Mapping[str, Any]) -> Path | None:
    """Writes the sidecar of a cache that was made from others.

    Args:
        cache: the cache's file.
        table: its bytes.
        content: what its sidecar is to say besides the hash and the header; nothing is written where that is empty.

    Returns:
        The file written; None without one.

    Raises:
        CalibrationError: when the file cannot be written.
    """
    if not content:
        return None
    header = table.split(b"\n", 1)[0].decode().rstrip("\r")
    made = {**content, "cache": {"sha256": hashlib.sha256(table).hexdigest(), "header": header}}
    path = sidecar_path(cache)
    atomic_write(path, json.dumps(made, indent=1, ensure_ascii=False).encode() + b"\n")
    return path


def versioned_sidecar(sidecar: Sidecar, trt_version: str | None) -> dict[str, Any]:
    """The content for the same scales under another header.

    Args:
        sidecar: that of the cache.
        trt_version: the version that was asked for; None where it stays.
    """
    content = copy.deepcopy(dict(sidecar.content))
    if trt_version is not None and isinstance(content.get("options"), dict):
        content["options"]["trt_version"] = trt_version
    return content


def renamed_sidecar(sidecar: Sidecar, names: Mapping[str, str]) -> dict[str, Any]:
    """The content for the same scales under other tensor names.

    Args:
        sidecar: that of the cache.
        names: old name -> new name; names that it lacks stay.
    """
    content = copy.deepcopy(dict(sidecar.content))
    for key in ("tensors", "skipped", "shapes"):
        if isinstance(content.get(key), dict):
            content[key] = {names.get(name, name): item for name, item in content[key].items()}
    for item in _table(content, "tensors").values():
        if isinstance(item, dict) and "source" in item:
            item["source"] = names.get(item["source"], item["source"])
    return content


class Offer(Protocol):
    """A scale that was added to a cache, as `audit.gaps.Gap` has it: where it comes from, and whose entry it was."""

    @property
    def offer(self) -> float | None:
        """The scale."""

    @property
    def offer_from(self) -> str:
        """Where it comes from, in words."""

    @property
    def partner(self) -> str:
        """The tensor whose entry it was; empty where it was none's."""


def completed_sidecar(sidecar: Sidecar, added: Mapping[str, Offer]) -> dict[str, Any]:
    """The content for a cache with more entries; empty where the cache has no sidecar.

    Args:
        sidecar: that of the cache.
        added: tensor -> what was added for it.
    """
    content = copy.deepcopy(dict(sidecar.content))
    if not content:
        return content
    tensors = content.setdefault("tensors", {})
    for name, each in added.items():
        tensors[name] = {"scale": each.offer, "completed": each.offer_from}
        if each.partner in sidecar.unseen:
            tensors[name]["values"] = 0
    return content


def merged_sidecar(
    sidecars: Sequence[Sidecar], caches: Sequence[Mapping[str, float]], kept: Mapping[str, float]
) -> dict[str, Any]:
    """The content for a cache that was merged; empty where none of its sources has a sidecar.

    What is said of a tensor is what the first source says whose scale was kept. Everything about the sources as a whole
    stands under `merged`, in their order, null for a source without a sidecar.

    Args:
        sidecars: one per source.
        caches: the scales of each source.
        kept: the scales of the merged cache.
    """
    if not any(sidecar.content for sidecar in sidecars):
        return {}
    own = ("tensors", "skipped", "shapes")
    tensors: dict[str, Any] = {}
    for name, scale in kept.items():
        sources = (s for s, cache in zip(sidecars, caches, strict=True) if cache.get(name) == scale)
        said = next((item for s in sources if (item := _table(s.content, "tensors").get(name))), None)
        if said is not None:
            tensors[name] = said
    return {
        "cache": {},
        "merged": [
            {key: value for key, value in sidecar.content.items() if key not in own} or None
            for sidecar in sidecars
        ],
        "shapes": _merged_shapes(sidecars),
        "tensors": tensors,
        "skipped": {
            name: why for s in reversed(sidecars) for name, why in _table(s.content, "skipped").items()
        },
    }


def _merged_shapes(sidecars: Sequence[Sidecar]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for sidecar in sidecars:
        for name, item in _table(sidecar.content, "shapes").items():
            known = merged.setdefault(name, dict(item))
            if len(known["min"]) == len(item["min"]):
                known["min"] = list(map(min, known["min"], item["min"]))
                known["max"] = list(map(max, known["max"], item["max"]))
    return merged


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}
