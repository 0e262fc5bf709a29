"""check(): which tensors of a model a calibration cache covers, and whether a gap costs INT8.

TensorRT looks up a scale for every float tensor of the network as parsed, and runs a layer that reads or
makes a tensor without a scale in floating point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.audit.gaps import WHY_NONE_NEEDED, Gap, behind_plugin, log_gaps, model_gaps, with_log
from onnx_trtcal.audit.log_audit import LogAudit, audit_log, constants_named
from onnx_trtcal.graph.constants import constant_amax
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import Model, load
from onnx_trtcal.graph.model.reach import beyond_int8
from onnx_trtcal.graph.ops import FLOATS
from onnx_trtcal.graph.plan.parser_names import is_helper, parser_tensors
from onnx_trtcal.graph.plan.plan import Plan, plan
from onnx_trtcal.graph.plan.scope import read_original
from onnx_trtcal.prepared import fold_model
from onnx_trtcal.trt.build_log import TrtLog, read_log
from onnx_trtcal.trt.cache import Cache, read_cache
from onnx_trtcal.trt.sidecar import read_sidecar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

__all__ = ["NO_SUCH_TENSOR", "OF_THE_FOLDED", "Coverage", "Gap", "check", "with_folded"]

NO_SUCH_TENSOR = "the model has no such tensor"
OF_THE_FOLDED = "a tensor of the model with BatchNorm folded, as --save-folded writes it"


@dataclass(frozen=True)
class Coverage:
    """How well a cache covers a model.

    Attributes:
        covered: the model's float tensors that have a usable entry, graph inputs first, then in graph order.
        gaps: the tensors that have none: the model's float tensors in that order, then its other tensors,
            then those that only the log names.
        idle: entries for tensors of the model that need no scale -> why.
        unknown: entries for names that the model does not have -> what they may be.
        zeros: covered tensors whose scale is 0, which TensorRT writes for a tensor that was all zeros or that held no
            value at all.
        unseen: covered tensors whose scale is made up, because they held no finite value in any sample: what the
            sidecar beside the cache says.
        subgraph_tensors: float tensors inside If, Loop and Scan bodies, which no cache covers.
        quantized: op types that show that the model is quantized already, so that TensorRT uses its Q/DQ nodes
            and no cache; empty otherwise.
        triage: what the build log says, if one was given.
    """

    covered: tuple[str, ...]
    gaps: tuple[Gap, ...]
    idle: Mapping[str, str]
    unknown: Mapping[str, str]
    zeros: tuple[str, ...]
    subgraph_tensors: int
    quantized: tuple[str, ...]
    triage: LogAudit | None
    unseen: tuple[str, ...] = ()

    @property
    def foreign(self) -> tuple[str, ...]:
        """The entries that name no tensor of the model, of its folded form, or of TensorRT's own."""
        return tuple(name for name, why in self.unknown.items() if why == NO_SUCH_TENSOR)

    @property
    def looks_foreign(self) -> bool:
        """Whether most entries name no tensor of the model, so that the cache looks like another model's."""
        return 2 * len(self.foreign) > len(self.covered) + len(self.idle) + len(self.unknown)

    @property
    def complete(self) -> bool:
        """Whether no gap costs or may cost INT8, and no log says that TensorRT refused the cache."""
        refused = self.triage is not None and self.triage.refused
        return not refused and all(gap.costs == "no" for gap in self.gaps)

    def completed(self, cache: Cache) -> Cache:
        """The cache with every offered scale, appended or in place of an unusable entry."""
        offers = {gap.tensor: gap.offer for gap in self.gaps if gap.offer is not None}
        return Cache(cache.header, {**cache.scales, **offers})


def check(
    model: str | Path | onnx.ModelProto | Model,
    cache: str | Path | Cache,
    log: str | Path | TrtLog | None = None,
    ort_custom_ops: Sequence[str] = (),
) -> Coverage:
    """Accounts for every tensor of a model and every entry of a cache.

        >>> from onnx_trtcal import Cache, check
        >>> cache = Cache("TRT-100300-EntropyCalibration2", {"input": 0.5, "elsewhere": 1.0})
        >>> coverage = check("models/digits_mlp.onnx", cache)
        >>> coverage.complete, coverage.covered, dict(coverage.unknown)
        (False, ('input',), {'elsewhere': 'the model has no such tensor'})

    Args:
        model: an ONNX file, a model in memory, or a loaded model.
        cache: a cache file, whose sidecar is read as well, or a cache that has been read.
        log: the `trtexec --verbose` log of a build with this cache, for what TensorRT itself says.
        ort_custom_ops: shared libraries that define custom operators for ONNX Runtime.

    Raises:
        CacheError: the cache cannot be read.
        ModelError: the model cannot be read.
        DataError: the log cannot be read.
    """
    entries = cache if isinstance(cache, Cache) else read_cache(cache)
    unseen = frozenset() if isinstance(cache, Cache) else read_sidecar(cache).unseen
    build = log if log is None or isinstance(log, TrtLog) else read_log(log)
    loaded = load(model, ort_custom_ops)
    # Not folded: TensorRT gets the original model, and looks up the scales before it folds.
    planned = plan(loaded, import_graph(loaded), {})
    usable = {name for name, scale in entries.scales.items() if math.isfinite(scale)}
    constants = _constants(loaded, entries, build)
    beyond = beyond_int8(loaded.proto)
    gaps = [behind_plugin(gap, beyond) for gap in model_gaps(planned, entries, usable)]
    account = None
    if build is not None:
        account = audit_log(build, entries, constants, _largest(loaded, constants))
        gaps = [with_log(gap, account, build) for gap in gaps]
        gaps.extend(log_gaps(account, planned))
    covered = tuple(name for name in planned.owners if name in usable)
    return Coverage(
        covered=covered,
        gaps=tuple(gaps),
        idle=_idle(loaded, planned, entries),
        unknown=_unknown(loaded, planned, entries, constants),
        zeros=tuple(name for name in covered if entries.scales[name] == 0),
        subgraph_tensors=planned.subgraph_tensors,
        quantized=planned.quantized,
        triage=account,
        unseen=tuple(name for name in covered if name in unseen),
    )


def _constants(model: Model, cache: Cache, log: TrtLog | None) -> dict[str, str]:
    known = read_original(model).constants
    if log is None:
        return constants_named(cache.scales, known, {})
    names = dict.fromkeys([*log.constants, *log.scales, *log.lacking, *cache.scales])
    return constants_named(names, known, log.constants)


def _largest(model: Model, constants: Mapping[str, str]) -> dict[str, float]:
    wanted = dict.fromkeys(constants.values())
    return constant_amax(model, [name for name in wanted if model.elem_types.get(name) in FLOATS])


def _idle(model: Model, planned: Plan, cache: Cache) -> dict[str, str]:
    idle = {}
    for name in cache.scales:
        if name in planned.skipped:
            reason = planned.skipped[name]
            idle[name] = WHY_NONE_NEEDED.get(reason, reason)
        elif name in model.elem_types and name not in planned.owners:
            idle[name] = WHY_NONE_NEEDED["constant"]
    return idle


def _unknown(model: Model, planned: Plan, cache: Cache, constants: Mapping[str, str]) -> dict[str, str]:
    unknown = {}
    parsers = {each.name for each in parser_tensors(model)}
    for name in cache.scales:
        if name in planned.owners or name in planned.skipped or name in model.elem_types:
            continue
        if name in constants:
            unknown[name] = "TensorRT's tensor of a constant of the model"
        elif is_helper(name):
            unknown[name] = "a tensor that TensorRT adds on its own"
        elif name in parsers:
            unknown[name] = "a tensor inside a layer, as TensorRT's parser names it"
        else:
            unknown[name] = NO_SUCH_TENSOR
    return with_folded(unknown, model)


def with_folded(strangers: Mapping[str, str], model: Model) -> dict[str, str]:
    """Names that no tensor of a model has -> what is known of them, the folded model's told from nobody's."""
    found = dict(strangers)
    if NO_SUCH_TENSOR in found.values():
        folded = _folded_names(model)
        found.update(dict.fromkeys([name for name in found if name in folded], OF_THE_FOLDED))
    return found


def _folded_names(model: Model) -> set[str]:
    """The tensors of a model with BatchNorm folded."""
    return {tensor.name for node in fold_model(model).folded.nodes for tensor in node.outputs}
