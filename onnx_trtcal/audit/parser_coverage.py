"""check_parser(): a cache against the network that NVIDIA's own parser makes of the model, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from onnx_trtcal.audit.coverage import NO_SUCH_TENSOR, with_folded
from onnx_trtcal.audit.gaps import WHY_NONE_NEEDED, Costs, Gap, behind_plugin, model_gaps
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.reach import beyond_int8
from onnx_trtcal.graph.plan.parser_names import is_helper, parser_tensors
from onnx_trtcal.graph.plan.plan import Plan, plan
from onnx_trtcal.trt.cache import Cache, read_cache
from onnx_trtcal.trt.compiler.network import NetworkTensor, read_network

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import onnx

    from onnx_trtcal.graph.model.load import Model

__all__ = ["KINDS", "ParserCoverage", "ParserGap", "check_parser"]

TensorKind = Literal["activation", "inside a layer", "helper", "loop", "broadcast", "constant"]
KINDS: Mapping[TensorKind, str] = {
    "activation": "tensors of the model",
    "inside a layer": "tensors inside a layer, named after its node",
    "helper": "tensors of helper layers, numbered",
    "loop": "tensors inside loops, recurrent layers or conditions",
    "broadcast": "constants in another shape",
    "constant": "constants",
}


@dataclass(frozen=True)
class ParserGap:
    """A float tensor of the parser's network without a usable entry.

    Attributes:
        tensor: its name.
        kind: what it is, one of `KINDS`.
        costs: whether the gap costs INT8.
        why: the reason.
    """

    tensor: str
    kind: TensorKind
    costs: Costs
    why: str


@dataclass(frozen=True)
class ParserCoverage:
    """How well a cache covers a network as it was parsed.

    Attributes:
        version: of TensorRT for RTX, whose parser made the network.
        covered: its float tensors that have a usable entry, in the order of the network.
        gaps: those that have none: what costs INT8 first, then by kind.
        strangers: entries that name no float tensor of the network -> what they are.
        quantized: op types that show that the model is quantized already, so that no cache is read for it.
    """

    version: str
    covered: tuple[str, ...]
    gaps: tuple[ParserGap, ...]
    strangers: Mapping[str, str]
    quantized: tuple[str, ...] = ()

    @property
    def looks_foreign(self) -> bool:
        """Whether most entries name no tensor of the model, so that the cache looks like another model's."""
        foreign = sum(why == NO_SUCH_TENSOR for why in self.strangers.values())
        return 2 * foreign > len(self.covered) + len(self.strangers)

    @property
    def complete(self) -> bool:
        """Whether no gap costs or may cost INT8."""
        return all(gap.costs == "no" for gap in self.gaps)


def check_parser(
    model: str | Path | onnx.ModelProto, cache: str | Path | Cache, ort_custom_ops: Sequence[str] = ()
) -> ParserCoverage:
    """Compares a cache with the network that the parser of TensorRT for RTX makes; nothing is built.

        >>> from onnx_trtcal import Cache, check_parser
        >>> cache = Cache("TRT-100300-EntropyCalibration2", {"input": 0.5, "fc1.weight_output": 0.1})
        >>> coverage = check_parser("models/digits_mlp.onnx", cache)
        >>> coverage.complete, coverage.covered
        (False, ('input', 'fc1.weight_output'))

    Args:
        model: an ONNX file, or a model in memory.
        cache: a cache file, or a cache that has been read.
        ort_custom_ops: shared libraries that define custom operators for ONNX Runtime.

    Raises:
        CompilerMissingError: when the package `tensorrt-rtx-cu12` is not installed.
        CacheError: the cache cannot be read.
        ModelError: the model cannot be read, or the parser refuses it.
    """
    entries = cache if isinstance(cache, Cache) else read_cache(cache)
    loaded = load(model, ort_custom_ops)
    network = read_network(model)
    planned = plan(loaded, import_graph(loaded), {})
    usable = {name for name, scale in entries.scales.items() if math.isfinite(scale)}
    beyond = beyond_int8(loaded.proto)
    known = {gap.tensor: behind_plugin(gap, beyond) for gap in model_gaps(planned, entries, usable)}
    gaps = [_gap(each, known) for name, each in network.tensors.items() if name not in usable]
    order = {kind: place for place, kind in enumerate(KINDS)}
    gaps.sort(key=lambda gap: (("yes", "maybe", "no").index(gap.costs), order[gap.kind]))
    return ParserCoverage(
        version=network.version,
        covered=tuple(name for name in network.tensors if name in usable),
        gaps=tuple(gaps),
        strangers=_strangers(loaded, planned, entries, network.tensors),
        quantized=planned.quantized,
    )


def _gap(tensor: NetworkTensor, known: Mapping[str, Gap]) -> ParserGap:
    if tensor.name in known:
        gap = known[tensor.name]
        return ParserGap(tensor.name, "activation", gap.costs, gap.why)
    if tensor.constant:
        kind: TensorKind = "constant" if tensor.kind == "CONSTANT" else "broadcast"
        return ParserGap(tensor.name, kind, "no", WHY_NONE_NEEDED["constant"])
    if tensor.inside:
        why = "inside a loop, a recurrent layer or a condition, which runs in floating point"
        return ParserGap(tensor.name, "loop", "no", why)
    values = f"holds the values of {tensor.source!r}" if tensor.source else f"made by {tensor.layer!r}"
    kind = "helper" if is_helper(tensor.name) else "inside a layer"
    return ParserGap(tensor.name, kind, "maybe", f"{values}; costs INT8 only where TensorRT does not fuse it")


def _strangers(model: Model, planned: Plan, cache: Cache, network: Collection[str]) -> dict[str, str]:
    predicted = {each.name for each in parser_tensors(model)}
    found = {}
    for name in cache.scales:
        if name in network:
            continue
        if name in planned.owners or name in planned.skipped or name in model.elem_types:
            found[name] = "a tensor of the model that this network lacks, or holds as integers"
        elif name in predicted:
            found[name] = "a name that other versions of the parser give"
        elif is_helper(name):
            found[name] = "a helper layer's tensor, numbered by another version of the parser"
        else:
            found[name] = NO_SUCH_TENSOR
    return with_folded(found, model)
