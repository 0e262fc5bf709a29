"""Scales from whatever there is: data to calibrate on, a statistics file, or a calibration cache."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import CacheError, StatisticsError
from onnx_trtcal.methods.assign import assign_methods
from onnx_trtcal.options import Options
from onnx_trtcal.support.progress import Listener, LoggingListener
from onnx_trtcal.trt.cache import Cache, read_cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from onnx_trtcal.calibration import Calibration, Prepared
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.stats.collection import Collection

__all__ = ["Obtained", "from_statistics", "kind_of", "load_statistics", "obtain"]


@dataclass(frozen=True)
class Obtained:
    """The scales of a model and where they came from.

    Attributes:
        model: the float model.
        scales: tensor -> scale, exact float32 values: those that were given or solved, then those carried on.
        kind: `data`, `statistics` or `cache`.
        calibration: everything behind the scales; None when they came from a cache.
        carried: tensors the cache does not name whose scale follows from one that it does name.
        missing: float tensors without a scale.
        foreign: entries of the cache that name no tensor of the model, folded or not.
        unusable: entries of the cache whose scale is no positive number (inf, nan), and which therefore count
            as missing.
    """

    model: Model
    scales: Mapping[str, float]
    kind: str
    calibration: Calibration | None = None
    carried: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


def kind_of(source: Any) -> str:
    """What `source` is: `cache`, `statistics`, or else `data`; files are told by their first bytes."""
    from onnx_trtcal.stats.collection import Collection
    from onnx_trtcal.stats.store import MAGIC

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


def obtain(
    model: str | Path | onnx.ModelProto,
    source: Any,
    options: Options = Options(),
    listener: Listener | None = None,
) -> Obtained:
    """The scales of a model.

    Args:
        model: path of an ONNX file, or a model in memory.
        source: data (whatever `calibrate` takes), the path of a statistics file or a Collection, the path of
            a calibration cache or a Cache.
        options: how to calibrate and to solve; a cache needs none of them.
        listener: is told how it goes.

    Raises:
        CalibrationError: one of its family; CacheError when the cache names no tensor of the model.
    """
    from onnx_trtcal.pipeline import calibrate
    from onnx_trtcal.stats import store

    kind = kind_of(source)
    if kind == "cache":
        cache = source if isinstance(source, Cache) else read_cache(source)
        return _from_cache(model, cache, options, "" if isinstance(source, Cache) else str(source))
    if kind == "statistics":
        named = isinstance(source, (str, Path))
        collection = store.load(source) if named else source
        calibration = from_statistics(model, collection, options, listener, str(source) if named else "")
    else:
        calibration = calibrate(model, source, options, listener=listener)
    scales = {name: item.scale for name, item in calibration.scales.items()}
    return Obtained(calibration.prepared.model, scales, kind, calibration)


def from_statistics(
    model: str | Path | onnx.ModelProto,
    collection: Collection,
    options: Options = Options(),
    listener: Listener | None = None,
    name: str = "",
) -> Calibration:
    """A calibration from statistics collected earlier, without running the model.

    Args:
        name: the statistics file, for error messages.

    Raises:
        StatisticsError: when the statistics are of another model.
    """
    from onnx_trtcal.pipeline import check_finite, check_options, solve

    check_options(options)
    prepared, asked = _prepare_for(model, collection, options, listener, name)
    check_finite(collection, asked)
    judged = {m.name: m.kind for m in assign_methods(asked, prepared.plan.op_types).values() if m.kind.judged}
    for method, kind in judged.items():
        (listener or LoggingListener()).warn(
            f"method {method} runs the model on data, and there are statistics only: {kind.module} stands in "
            f"for it; calibrate with the data and --method {method} for more"
        )
    return solve(prepared, collection, asked)


def load_statistics(
    path: str | Path,
    model: str | Path | onnx.ModelProto,
    options: Options = Options(),
    listener: Listener | None = None,
) -> tuple[Prepared, Collection]:
    """A statistics file with the plan of the model it belongs to; no data is read, nothing solved.

    Raises:
        StatisticsError: when the file cannot be read, or is of another model.
    """
    from onnx_trtcal.stats import store

    collection = store.load(path)
    prepared, _ = _prepare_for(model, collection, options, listener, str(path))
    return prepared, collection


def _prepare_for(
    model: str | Path | onnx.ModelProto,
    collection: Collection,
    options: Options,
    listener: Listener | None,
    name: str,
) -> tuple[Prepared, Options]:
    """The plan under which the statistics were collected, and the options with what they say of that."""
    from onnx_trtcal.pipeline import prepare

    observe = collection.options.get("observe", options.observe)
    asked = replace(options, observe=observe, range=collection.rule)
    prepared = prepare(model, asked, listener or LoggingListener())
    if collection.model != prepared.model.sha256:
        raise StatisticsError(
            "the statistics were collected from another model: its hash is "
            f"{collection.model[:12]}…, this model's {prepared.model.sha256[:12]}…",
            where=name,
            fix="give the model file that was calibrated, byte for byte, or calibrate this one",
        )
    unmeasured = [tensor for tensor in prepared.plan.observed if tensor not in collection.histograms]
    if unmeasured:
        raise StatisticsError(
            f"the statistics lack {len(unmeasured)} tensors to observe, {unmeasured[0]!r} for one",
            where=name,
            fix="collect them again with this version",
        )
    return prepared, asked


def _from_cache(model: str | Path | onnx.ModelProto, cache: Cache, options: Options, name: str) -> Obtained:
    """A cache's scales, and what follows from them where the cache has no entry."""
    from onnx_trtcal.graph.fold.fold import fold
    from onnx_trtcal.graph.groups.group import find_groups
    from onnx_trtcal.graph.model.importer import import_graph
    from onnx_trtcal.graph.model.load import load
    from onnx_trtcal.graph.ops import QUANTIZED
    from onnx_trtcal.graph.propagate import propagate_scales
    from onnx_trtcal.graph.view import kind
    from onnx_trtcal.pipeline import check_not_quantized

    loaded = load(model, options.ort_custom_ops)
    graph = import_graph(loaded)
    found = sorted({kind(node) for node in graph.nodes} & QUANTIZED)
    check_not_quantized(found, str(loaded.path or "the model in memory"), options)
    fold(graph)
    tensors = {*graph.tensors(), *loaded.elem_types}
    foreign = tuple(tensor for tensor in cache.scales if tensor not in tensors)
    if len(foreign) == len(cache.scales):
        raise CacheError(
            f"none of the cache's {len(foreign)} entries names a tensor of the model",
            where=name,
            fix="give the cache of this model; `onnx-trtcal cache rename` helps where only names differ",
        )
    usable = {t: scale for t, scale in cache.scales.items() if math.isfinite(scale) and scale >= 0}
    known = {tensor: scale for tensor, scale in usable.items() if tensor in tensors}
    follows, missing = propagate_scales(graph, find_groups(graph, loaded.shapes), known)
    carried = {tensor: scale for tensor, scale in follows.items() if tensor not in known}
    return Obtained(
        model=loaded,
        scales={**usable, **carried},
        kind="cache",
        carried=tuple(carried),
        missing=missing,
        foreign=foreign,
        unusable=tuple(tensor for tensor in cache.scales if tensor not in usable),
    )
