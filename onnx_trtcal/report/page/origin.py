"""Where all of it comes from: model, data, method, versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal import __version__
from onnx_trtcal.data.remote import shown_path
from onnx_trtcal.report.summary import covered_line
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.report.page.material import Material

__all__ = ["origin_of", "subtitle_of"]


def subtitle_of(material: Material) -> str:
    """One line below the model's name: what the scales come from."""
    paths, calibration = material.paths, material.source.calibration
    if calibration is None:
        return f"scales of the cache {Path(paths.cache).name}" if paths.cache else "scales of a cache"
    samples = many(len(calibration.collection.samples), "sample")
    where = f"statistics {Path(paths.stats).name}: " if paths.stats else ""
    return f"{where}{samples}, method {', '.join(_methods(calibration))}"


def _methods(calibration: Calibration) -> list[str]:
    """The methods of the tensors; one that chose differently from tensor to tensor goes by its name alone."""
    chosen: dict[str, set[str]] = {}
    for name, method in calibration.prepared.methods.items():
        chosen.setdefault(str(method), set()).add(calibration.scales[name].method)
    return [labels.pop() if len(labels) == 1 else method for method, labels in chosen.items()]


def origin_of(material: Material) -> tuple[tuple[str, str], ...]:
    """Label and value of each."""
    source, paths = material.source, material.paths
    found = [("model", paths.model), ("SHA-256 of the model", source.model.sha256)]
    found += [
        (f"input {spec.name}", "x".join(map(str, spec.shape)) or "a scalar") for spec in source.model.inputs
    ]
    calibration = source.calibration
    if calibration is not None:
        options = calibration.options
        found += [
            ("coverage", covered_line(calibration)),
            ("range rule", calibration.collection.rule),
            ("cache for TensorRT", options.trt_version),
        ]
    found += [("statistics", paths.stats)] if paths.stats else []
    found += [("run before", paths.earlier)] if paths.earlier else []
    found += [("data", ", ".join(map(shown_path, paths.data)))] if paths.data else []
    return (*found, ("made by", f"onnx_trtcal {__version__}"))
