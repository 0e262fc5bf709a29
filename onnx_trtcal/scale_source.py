"""Scales from whatever there is: data to calibrate on, a statistics file, or a calibration cache."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onnx_trtcal.errors import CacheError, StatisticsError
from onnx_trtcal.options import Options
from onnx_trtcal.scales import unseen_warnings
from onnx_trtcal.solving import from_statistics, read_statistics
from onnx_trtcal.stats.store import MAGIC
from onnx_trtcal.support.progress import Listener, LoggingListener
from onnx_trtcal.trt.cache import Cache, read_cache
from onnx_trtcal.trt.sidecar import Sidecar, read_sidecar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import onnx

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.data.seen_shapes import SeenShapes
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.prepared import FoldedModel

__all__ = [
    "ScaleSource",
    "SourceKind",
    "find_scales",
    "from_calibration",
    "source_kind",
]

SourceKind = Literal["data", "statistics", "cache", "calibration"]


@dataclass(frozen=True)
class ScaleSource:
    """The scales of a model and where they came from.

    Attributes:
        folded: the float model, with BatchNorm folded.
        scales: tensor -> scale, exact float32 values: those that were given or solved, then those propagated.
        kind: what they came from.
        calibration: everything behind the scales; None when they came from a cache.
        propagated: tensors that the cache does not name whose scale follows from one that it does name.
        missing: float tensors without a scale that may cost INT8; those behind a plugin with no layer need none.
        parser_names: entries of the cache under names that only NVIDIA's parser gives.
        foreign: entries of the cache that name no tensor of the model, folded or not, nor of the parser.
        unusable: entries of the cache whose scale is not a positive number (inf, nan), and which therefore count
            as missing.
        unseen: tensors whose scale is made up, because no value of theirs was ever seen: what the calibration or the
            cache's sidecar says, and without either those whose scale in the cache is 0, with all that take theirs.
        seen_shapes: per input, the shapes that it was calibrated with; empty where they are not known.
        weight_scales: weight -> its scales, where a method found others than max|w| / 127.
    """

    folded: FoldedModel
    scales: Mapping[str, float]
    kind: SourceKind
    calibration: Calibration | None = None
    propagated: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    parser_names: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    seen_shapes: Mapping[str, SeenShapes] = field(default_factory=dict)
    weight_scales: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The float model as it was loaded."""
        return self.folded.model


def source_kind(source: Any) -> SourceKind:
    """What `source` is; a file is recognized by its first bytes."""
    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.stats.collection import Collection

    if isinstance(source, Calibration):
        return "calibration"
    if isinstance(source, Cache):
        return "cache"
    if isinstance(source, Collection):
        return "statistics"
    if not isinstance(source, (str, Path)) or not Path(source).is_file():
        return "data"
    with open(source, "rb") as file:
        start = file.read(len(MAGIC))
    if start.startswith(MAGIC[:4]):
        return "statistics"
    return "cache" if start.startswith(b"TRT-") or Path(source).suffix == ".cache" else "data"


def find_scales(
    model: str | Path | onnx.ModelProto,
    source: Any,
    options: Options = Options(),
    listener: Listener | None = None,
    weight_bits: int = 8,
) -> ScaleSource:
    """The scales of a model.

    Args:
        model: path of an ONNX file, or a model in memory.
        source: data (whatever `calibrate` takes), the path of a statistics file or a Collection, the path of
            a calibration cache or a Cache, or a Calibration of this model.
        options: how to calibrate and to solve; a cache needs none of them.
        listener: receives messages and progress.
        weight_bits: of the integers of weights, for a method that finds the scales of weights, too.

    Raises:
        CalibrationError: one of its family; CacheError when the cache names no tensor of the model.
    """
    from onnx_trtcal.pipeline import calibrate_for

    listener = listener or LoggingListener()
    kind = source_kind(source)
    if kind == "calibration":
        return _of_model(source, model)
    if kind == "cache":
        found = _from_cache(model, source, options, listener)
    elif kind == "statistics":
        collection, where = read_statistics(source)
        found = from_calibration(from_statistics(model, collection, options, listener, where), kind)
    else:
        calibration = calibrate_for(model, source, options, listener, weight_bits=weight_bits)
        found = from_calibration(calibration, kind)
    for text in unseen_warnings(found.unseen, found.scales, from_cache=kind == "cache"):
        listener.warn(text)
    return found


def _of_model(calibration: Calibration, model: str | Path | onnx.ModelProto) -> ScaleSource:
    """The scales of a calibration, if it is one of this model."""
    from onnx_trtcal.graph.model.read import read_model

    calibrated = calibration.prepared.model
    if calibrated.sha256 != read_model(model).sha256():
        raise StatisticsError(
            f"the calibration is of another model, {calibrated.path or 'one in memory'}",
            where=str(model) if isinstance(model, (str, Path)) else "",
            fix="give the model that was calibrated, or calibrate this one",
        )
    return from_calibration(calibration, "calibration")


def from_calibration(calibration: Calibration, kind: SourceKind = "data") -> ScaleSource:
    """The scales of a calibration; `kind` is what that came from."""
    scales = {name: item.scale for name, item in calibration.scales.items()}
    return ScaleSource(
        calibration.prepared.whole(),
        scales,
        kind,
        calibration,
        unseen=calibration.unseen,
        seen_shapes=calibration.seen_shapes,
        weight_scales=calibration.weight_scales,
    )


def _from_cache(
    model: str | Path | onnx.ModelProto, source: str | Path | Cache, options: Options, listener: Listener
) -> ScaleSource:
    """A cache's scales, and what follows from them where the cache has no entry."""
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.graph.model.reach import beyond_int8
    from onnx_trtcal.graph.plan.parser_names import is_helper, parser_tensors
    from onnx_trtcal.graph.propagate import propagate_scales, with_followers
    from onnx_trtcal.graph.view import quantized_ops
    from onnx_trtcal.prepared import check_not_quantized, fold_model

    if isinstance(source, Cache):
        cache, sidecar, name = source, Sidecar(), ""
    else:
        cache, sidecar, name = read_cache(source), read_sidecar(source), str(source)
    if sidecar.problem:
        listener.warn(sidecar.problem)
    folded = fold_model(load(model, options.ort_custom_ops))
    check_not_quantized(quantized_ops(folded.folded.nodes), folded.model, options)
    tensors = {*folded.folded.tensors(), *folded.model.elem_types}
    parsers = {each.name for each in parser_tensors(folded.model)}
    others = [tensor for tensor in cache.scales if tensor not in tensors]
    foreign = tuple(tensor for tensor in others if tensor not in parsers)
    if len(others) == len(cache.scales):
        raise CacheError(
            f"none of the cache's {len(others)} entries names a tensor of the model",
            where=name,
            fix="give the cache of this model; `onnx-trtcal cache rename` helps where only names differ",
        )
    if 2 * sum(not is_helper(tensor) for tensor in foreign) > len(cache.scales):
        listener.warn(
            f"this looks like another model's cache: {len(foreign)} of its {len(cache.scales)} entries name no tensor "
            "of the model"
        )
    usable = {t: scale for t, scale in cache.scales.items() if math.isfinite(scale) and scale >= 0}
    known = {tensor: scale for tensor, scale in usable.items() if tensor in tensors}
    follows, missing = propagate_scales(folded.folded, folded.groups, known)
    propagated = {tensor: scale for tensor, scale in follows.items() if tensor not in known}
    beyond = beyond_int8(folded.model.proto)
    made_up = {tensor for tensor, scale in known.items() if scale == 0} - sidecar.zeros
    return ScaleSource(
        folded=folded,
        scales={**usable, **propagated},
        kind="cache",
        propagated=tuple(propagated),
        missing=tuple(tensor for tensor in missing if tensor not in beyond),
        parser_names=tuple(tensor for tensor in others if tensor in parsers),
        foreign=foreign,
        unusable=tuple(tensor for tensor in cache.scales if tensor not in usable),
        unseen=with_followers(folded.folded, folded.groups, known, made_up | (sidecar.unseen & known.keys())),
        seen_shapes=sidecar.shapes(folded.model.inputs, options.batch_size),
    )
