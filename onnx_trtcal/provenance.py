"""The JSON file beside a cache: where every scale came from, without a time of day or a machine in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration

__all__ = ["sidecar_bytes"]

# How the work was cut up, where it ran and which samples were left over has no part in the result.
_NOT_PROVENANCE = {
    "batch_size",
    "threads",
    "memory_limit",
    "checkpoint_every",
    "max_samples",
    "until_stable",
    "provider",
    "preprocess",
    "ort_custom_ops",
}
_PACKAGES = ("onnx_trtcal", "numpy", "onnx", "onnx-graphsurgeon", "onnxruntime-gpu", "onnxruntime")


def sidecar_bytes(calibration: Calibration, table: bytes, form: str = "trt") -> bytes:
    """The sidecar of a cache, or of a table of another format.

    Args:
        calibration: what the cache was made from.
        table: the bytes of the file, whose hash ties the two together.
        form: the format's name.
    """
    said = {"header": table.split(b"\n", 1)[0].decode()} if form == "trt" else {"format": form}
    model = calibration.prepared.model
    samples = calibration.collection.samples
    content = {
        "cache": {"sha256": hashlib.sha256(table).hexdigest(), **said},
        "model": {"file": model.path.name if model.path else None, "sha256": model.sha256},
        "data": {"samples": len(samples), "sha256": _hash_of_samples(calibration)},
        "options": _options(calibration),
        "versions": _versions(),
        "tensors": {
            name: {
                "amax": item.amax,
                "threshold": item.threshold,
                "scale": item.scale,
                "method": item.method,
                "source": item.source,
                "how": item.how,
            }
            for name, item in calibration.scales.items()
        },
        "skipped": dict(calibration.prepared.plan.skipped),
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def _hash_of_samples(calibration: Calibration) -> str:
    # The samples' own hashes, sorted: the same data in another order or under other names is the same data.
    hashes = sorted(digest for _, digest in calibration.collection.samples)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _options(calibration: Calibration) -> dict[str, Any]:
    fields = dataclasses.asdict(calibration.options)
    kept = {name: value for name, value in fields.items() if name not in _NOT_PROVENANCE}
    return {**kept, **calibration.collection.options}


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
