"""Concats of branches that one INT8 scale cannot serve: what TensorRT does with a cache, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import listed
from onnx_trtcal.graph.flow import Flow
from onnx_trtcal.graph.ops import MOVES
from onnx_trtcal.graph.view import kind
from onnx_trtcal.qdq.place.layer_rules import is_layer
from onnx_trtcal.qdq.place.mixed_concats import MixedConcat, mixed_concats
from onnx_trtcal.qdq.read.precisions import layer_precisions
from onnx_trtcal.scales import QUANTIZED_MAX
from onnx_trtcal.support.printable import shell_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_graphsurgeon as gs

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.qdq.place.placement import Placement

__all__ = ["mixed_in_cache", "mixed_in_model"]

_MOST_CONCATS = 3
_MOST_NAMES = 5


def mixed_in_cache(calibration: Calibration) -> list[str]:
    """A warning per Concat whose one scale in the cache is too coarse for one of its branches, the worst first."""
    flow = Flow(calibration.prepared.folded)
    kept = _magnitudes(calibration)
    found = sorted(mixed_concats(flow, kept), key=lambda each: (-each.ratio, each.tensor))
    texts = [_cache_warning(each, flow, calibration, kept) for each in found[:_MOST_CONCATS]]
    if more := found[_MOST_CONCATS:]:
        names = listed([repr(each.tensor) for each in more], _MOST_NAMES)
        texts.append(f"{len(more)} more Concats join branches that lie too far apart for one scale: {names}")
    return texts


def mixed_in_model(placement: Placement, scales: Mapping[str, float]) -> list[str]:
    """What is to be known of such Concats in a Q/DQ model: which stay in floating point, and who reads the others.

    Args:
        placement: where its pairs are.
        scales: tensor -> scale.
    """
    mixed = {each.tensor: each for each in placement.mixed}
    readers = placement.mixed_readers
    floats = [each for each in placement.mixed if each.tensor not in readers]
    texts = [_reader_line(mixed[name], nodes, scales) for name, nodes in readers.items()]
    if floats:
        names = listed([repr(each.tensor) for each in floats], _MOST_NAMES)
        texts.insert(
            0,
            f"{len(floats)} {'Concat' if len(floats) == 1 else 'Concats'} of branches that lie too far apart for one "
            f"scale {'stays' if len(floats) == 1 else 'stay'} in floating point: {names}",
        )
    return texts


def _reader_line(mixed: MixedConcat, nodes: Sequence[str], scales: Mapping[str, float]) -> str:
    one = len(nodes) == 1
    flags = " ".join(f"--exclude {shell_word(node)}" for node in nodes)
    return (
        f"{mixed.smallest!r} has {_levels(mixed, scales)} in Concat {mixed.tensor!r}, which "
        f"{listed([repr(node) for node in nodes])} {'reads' if one else 'read'} in INT8 with one scale; to keep "
        f"{'it' if one else 'them'} in floating point: {flags}"
    )


def _magnitudes(calibration: Calibration) -> dict[str, float]:
    """Per tensor, the largest magnitude that is kept of it, and no more than it has where tensors share a scale."""
    histograms = calibration.collection.histograms
    return {
        name: min(item.threshold, histograms[item.source].amax if item.source in histograms else item.amax)
        for name, item in calibration.scales.items()
        if item.seen
    }


def _cache_warning(
    mixed: MixedConcat, flow: Flow, calibration: Calibration, kept: Mapping[str, float]
) -> str:
    scales = {name: item.scale for name, item in calibration.scales.items()}
    output = _output_of(flow, mixed.tensor)
    what = f"output {output!r}" if output else f"tensor {mixed.tensor!r}"
    ranges = " and ".join(
        f"{name!r} to {kept[name]:.4g}" if name in kept else repr(name)
        for name in (mixed.largest, mixed.smallest)
    )
    left = _levels(mixed, {**scales, mixed.smallest: _largest(mixed, kept) / mixed.ratio / QUANTIZED_MAX})
    layers = _layers_behind(flow, mixed.tensor)
    nodes = [flow.node[mixed.tensor], *layers]
    precisions = layer_precisions({node.name: "fp16" for node in nodes if node.name})
    float_flags = (
        f"keep {'it and its readers' if layers else 'it'} in floating point with --fp16 "
        f"--precisionConstraints=obey {shell_word(f'--layerPrecisions={precisions}')}"
        if precisions
        else "keep it in floating point"
    )
    instead = "" if layers else ", or use onnx-trtcal quantize, which keeps it there"
    return (
        f"Concat {mixed.node!r} ({what}) joins branches that lie {mixed.ratio:,.0f} times apart, "
        f"{ranges}, and has one scale in the cache: in INT8 {mixed.smallest!r} has {left}; {float_flags}{instead}"
    )


def _largest(mixed: MixedConcat, kept: Mapping[str, float]) -> float:
    return kept.get(mixed.largest) or kept.get(mixed.smallest, 0.0) * mixed.ratio


def _levels(mixed: MixedConcat, scales: Mapping[str, float]) -> str:
    """What the Concat's scale leaves of its smallest branch."""
    own, joined = scales.get(mixed.smallest, 0.0), scales.get(mixed.tensor, 0.0)
    levels = own * QUANTIZED_MAX / joined if own and joined else QUANTIZED_MAX / mixed.ratio
    if levels < 0.5:
        return "nothing left but zeros (every value is below half a step)"
    return f"{max(round(levels), 1)} of {QUANTIZED_MAX} levels"


def _output_of(flow: Flow, tensor: str) -> str:
    """The output of the model that holds a tensor's values; nothing where there is none."""
    pending, seen = [tensor], {tensor}
    while pending:
        name = pending.pop()
        if flow.is_output(name):
            return name
        following = {
            node.outputs[0].name for node, index in flow.consumers(name) if index == 0 and kind(node) in MOVES
        } - seen
        seen |= following
        pending += sorted(following)
    return ""


def _layers_behind(flow: Flow, tensor: str) -> list[gs.Node]:
    """The layers that read a tensor, past ops that only pass on its values."""
    pending, seen, found = [tensor], {tensor}, []
    while pending:
        for node, index in flow.consumers(pending.pop()):
            if is_layer(node) and index in (0, 1):
                found.append(node)
            elif 0 <= index < len(flow.data_inputs(node)):
                following = {each.name for each in node.outputs if each.name} - seen
                seen |= following
                pending += sorted(following)
    return found
