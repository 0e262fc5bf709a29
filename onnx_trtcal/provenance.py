"""The JSON file beside a cache: where every scale came from, without a time of day or a machine in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from onnx_trtcal.options import with_method
from onnx_trtcal.support.ort_install import runtime_versions
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx_trtcal.data.seen_shapes import SeenShapes
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.options import Options
    from onnx_trtcal.scales import Scale

__all__ = ["EQUALIZED_KEY", "Provenance", "equalization_of", "provenance_options", "sidecar_bytes"]

EQUALIZED_KEY = "onnx_trtcal.equalized"
"""The metadata entry of an equalized model: JSON that says which tensors hold other values than in the original."""

# How the work was cut up, where it ran and which samples were left over has no part in the result.
_NOT_PROVENANCE = {
    "batch_size",
    "threads",
    "memory_limit",
    "checkpoint_every",
    "check_samples",
    "max_samples",
    # A time gives what the number of steps says.
    "budget",
    "until_stable",
    "provider",
    "preprocess",
    "ort_custom_ops",
    # Where it was given it is among what the statistics say of themselves.
    "until",
}
_PACKAGES = ("onnx_trtcal", "numpy", "onnx", "onnx-graphsurgeon")


@dataclass(frozen=True)
class Provenance:
    """Where the scales of a model came from.

    Attributes:
        model_file: name of the model's file, without its folder; None for a model in memory.
        model_sha256: hash of the model, in hexadecimal.
        sample_hashes: of every sample that was counted.
        options: what had a part in the result, from `provenance_options`.
        scales: per tensor.
        skipped: tensors without a scale -> why.
        shapes: per input, the shapes that it was fed with, one sample at a time; empty where they are not known.
        equalization: how the model was equalized, see `equalization_of`; empty where it was not.
    """

    model_file: str | None
    model_sha256: str
    sample_hashes: Sequence[str]
    options: Mapping[str, Any]
    scales: Mapping[str, Scale]
    skipped: Mapping[str, str]
    shapes: Mapping[str, SeenShapes] = field(default_factory=dict)
    equalization: Mapping[str, Any] = field(default_factory=dict)


def equalization_of(model: Model) -> dict[str, Any]:
    """What an equalized model records of that: level, Muls put in, tensors; empty for any other model."""
    for entry in model.proto.metadata_props:
        if entry.key == EQUALIZED_KEY:
            try:
                found = parse_json(entry.value)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def provenance_options(options: Options, counted_with: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a part in the result.

    Args:
        options: those of the run that solved.
        counted_with: those that the statistics were collected with.
    """
    fields = dataclasses.asdict(with_method(options))
    kept = {name: value for name, value in fields.items() if name not in _NOT_PROVENANCE}
    if not options.item_axis:
        del kept["item_axis"]  # what an item is was found out by a trial
    if options.steps is None:
        del kept["steps"]  # no search that counts them
    return {**kept, **counted_with}


def sidecar_bytes(provenance: Provenance, table: bytes, form: str = "trt") -> bytes:
    """The sidecar of a cache, or of a table of another format.

    Args:
        provenance: where the scales came from.
        table: the bytes of the file, whose hash ties the two together.
        form: the format's name.
    """
    named = {"header": table.split(b"\n", 1)[0].decode()} if form == "trt" else {"format": form}
    content = {
        "cache": {"sha256": hashlib.sha256(table).hexdigest(), **named},
        "model": {"file": _in_utf8(provenance.model_file), "sha256": provenance.model_sha256},
        "data": {
            "samples": len(provenance.sample_hashes),
            "sha256": _hash_of_samples(provenance.sample_hashes),
        },
        "options": dict(provenance.options),
        "versions": _versions(),
        **_shapes(provenance),
        **({"equalization": dict(provenance.equalization)} if provenance.equalization else {}),
        "tensors": {name: _fields(item) for name, item in provenance.scales.items()},
        "skipped": dict(provenance.skipped),
    }
    # What an equalized model says of itself is JSON of anybody's, which may hold half of a character.
    return json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _in_utf8(name: str | None) -> str | None:
    """A file's name as it is where the locale can hold it, that is in UTF-8."""
    return None if name is None else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _fields(item: Scale) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "amax": item.amax,
        "threshold": item.threshold,
        "scale": item.scale,
        "method": item.method,
        "source": item.source,
        "how": item.reason,
    }
    return fields if item.seen else {**fields, "values": 0}


def _shapes(provenance: Provenance) -> dict[str, Any]:
    """The entry `shapes`, where there are any."""
    found: dict[str, Any] = {}
    for name, seen in sorted(provenance.shapes.items()):
        axis = {} if seen.item_axis is None else {"batch_axis": seen.item_axis}
        found[name] = {"min": list(seen.smallest), "max": list(seen.largest), **axis}
    return {"shapes": found} if found else {}


def _hash_of_samples(hashes: Sequence[str]) -> str:
    # Sorted: the same data in another order or under other names is the same data.
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions | runtime_versions()
