"""What is reported of a run: what was measured and clipped hardest, what to look at, what to run next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import listed
from onnx_trtcal.methods import NOTHING_CLIPPED
from onnx_trtcal.methods.score import Score, score
from onnx_trtcal.scales import unseen_text
from onnx_trtcal.support.printable import shell_word
from onnx_trtcal.trt.tables import names_with_colon
from onnx_trtcal.trt.trtexec import dynamic_shapes, trtexec_line
from onnx_trtcal.trt.version import parse_version

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.counting.convergence import Movement
    from onnx_trtcal.scales import Reason

__all__ = [
    "Clip",
    "colon_warning",
    "counted",
    "covered_line",
    "hardest_clips",
    "next_command",
    "settled_line",
    "unseen_shapes",
    "warnings",
]

# Under a few values a bin, the shape that the entropy search goes by is mostly chance.
FEW_VALUES = 2048

# Half a step of INT8, as a share of the threshold: what is clipped by less is rounded no worse than the rest.
HALF_STEP = 1 / 254

# INT8 steps are 1/127 of the range apart: a scale that moves by less than a few of them is the same scale.
SETTLED = 0.02

_REASONS: Mapping[Reason, str] = {
    "group": "inside a fused group",
    "folded": "folded away",
    "tie": "same values as another",
    "pool": "MaxPool output",
    "concat": "tied to a Concat",
    "constant": "constant",
    "alias": "same values under the name of TensorRT's parser",
    "bound": "bounded by its op",
}


@dataclass(frozen=True)
class Clip:
    """How hard a method clips one observed tensor.

    Attributes:
        ratio: threshold / amax.
        score: what the threshold does to the tensor.
    """

    tensor: str
    method: str
    amax: float
    threshold: float
    ratio: float
    score: Score


def counted(calibration: Calibration) -> Counter[Reason]:
    """How many tensors have their scale for which reason (`measured`, `group`, `tie` …)."""
    return Counter(item.reason for item in calibration.scales.values())


def covered_line(calibration: Calibration) -> str:
    """One line: how many tensors have a scale of their own or of another tensor, and how many none and why."""
    reasons = counted(calibration)
    measured = reasons.pop("measured", 0)
    parts = [f"{measured} measured"]
    parts += [f"{reasons[key]} {text}" for key, text in _REASONS.items() if reasons[key]]
    why_skipped = Counter(calibration.prepared.plan.skipped.values())
    skipped = ", ".join(f"{count} {reason}" for reason, count in why_skipped.most_common())
    line = f"{len(calibration.scales)} tensors have a scale: {', '.join(parts)}"
    return f"{line}; without one: {skipped}" if skipped else line


def hardest_clips(calibration: Calibration, most: int = 5) -> list[Clip]:
    """The observed tensors whose threshold keeps the smallest part of their range, hardest first."""
    clips = []
    for tensor, threshold in calibration.thresholds.items():
        histogram = calibration.collection.histograms[tensor]
        if tensor not in calibration.prepared.plan.products and 0 < threshold < histogram.amax:
            method = calibration.scales[tensor].method
            clips.append((threshold / histogram.amax, tensor, method, threshold, histogram))
    clips.sort(key=lambda clip: clip[:2])
    return [
        Clip(tensor, method, histogram.amax, threshold, ratio, score(histogram, threshold))
        for ratio, tensor, method, threshold, histogram in clips[:most]
    ]


def settled_line(movement: Movement, bound: float | None = None) -> str:
    """One line: how far the scales moved over the last samples, and whether more data would help.

    Args:
        movement: over the last samples.
        bound: the movement under which scales count as settled; None for a few steps of INT8.
    """
    moved = f"scales moved by {movement.most:.1%} at most over the last {movement.last} of {movement.total} samples"
    if movement.most <= (bound or SETTLED):
        return f"{moved}: they have settled"
    return f"{moved} ({movement.tensor}): more data would steady them"


def warnings(calibration: Calibration, advised: Container[str] = ()) -> list[str]:
    """What the user should look at before building an engine.

    Args:
        calibration: what came out.
        advised: tensors for which a better method was suggested already.
    """
    return [
        *_clipped_inputs(calibration, advised),
        *_few_values(calibration),
        *_all_zero(calibration),
        *_unseen(calibration),
        *_nonfinite(calibration),
        *_subgraphs(calibration),
    ]


def colon_warning(calibration: Calibration) -> str:
    """What to know of a TensorRT cache with names that hold a colon; empty when there are none."""
    names = names_with_colon({name: item.scale for name, item in calibration.scales.items()})
    if not names:
        return ""
    return (
        f"{_tensors(names)}: named with a colon, at the first of which ONNX Runtime's TensorRT provider cuts a name "
        "in a TensorRT cache (trtexec does not): for that provider add --format ort-flatbuffers"
    )


def unseen_shapes(calibration: Calibration) -> list[str]:
    """The inputs with a dynamic axis that this run did not feed, so that `next_command` does not know their shapes."""
    return [
        spec.name
        for spec in calibration.prepared.model.inputs
        if spec.name not in calibration.seen_shapes and any(not isinstance(size, int) for size in spec.shape)
    ]


def next_command(calibration: Calibration, model: str, cache: str) -> str:
    """The trtexec call for the chosen TensorRT version, with shape flags where an input is dynamic."""
    version = parse_version(calibration.options.trt_version)
    dynamic = dynamic_shapes(calibration.prepared.model.inputs, calibration.seen_shapes)
    return trtexec_line(model, cache, (version.major, version.minor), dynamic)


def _clipped_inputs(calibration: Calibration, advised: Container[str]) -> list[str]:
    return [
        f"input {spec.name!r} is clipped at {scale.threshold:.6g}, below its largest value {scale.amax:.6g}: "
        f"if that value is real and not noise, pass --method-for {shell_word(f'{spec.name}={NOTHING_CLIPPED}')}"
        for spec in calibration.prepared.model.inputs
        if spec.name not in advised
        and (scale := calibration.scales.get(spec.name))
        and 0 < scale.threshold * (1 + HALF_STEP) < scale.amax
    ]


def _few_values(calibration: Calibration) -> list[str]:
    few = {
        tensor: histogram.total
        for tensor, histogram in calibration.collection.histograms.items()
        if 0 < histogram.total < FEW_VALUES and tensor not in calibration.prepared.plan.products
    }
    if not few:
        return []
    each = " each" if len(few) > 1 else ""
    return [
        f"{_tensors(few)}: fewer than {FEW_VALUES} values{each}, too few for a steady scale: use more samples"
    ]


def _all_zero(calibration: Calibration) -> list[str]:
    zero = [name for name, item in calibration.scales.items() if item.all_zero and item.reason == "measured"]
    return [f"{_tensors(zero)}: only zeros were seen; written as {_as_zeros(calibration)}"] if zero else []


def _unseen(calibration: Calibration) -> list[str]:
    if not calibration.unseen:
        return []
    written = f"written as {_as_zeros(calibration)}, which is made up"
    fix = (
        "give samples that reach them, or keep the layers that read them in floating point, as quantize does"
    )
    return [f"{unseen_text(calibration.unseen)}; {written}: {fix}"]


def _as_zeros(calibration: Calibration) -> str:
    return "0, as TensorRT does" if calibration.options.zero_scales else "the scale of [-1, 1]"


def _nonfinite(calibration: Calibration) -> list[str]:
    return [
        f"tensor {tensor!r} held {histogram.nan} NaN and {histogram.inf} Inf, which were left out"
        for tensor, histogram in calibration.collection.histograms.items()
        if histogram.nan or histogram.inf
    ]


def _subgraphs(calibration: Calibration) -> list[str]:
    count = calibration.prepared.plan.subgraph_tensors
    if not count:
        return []
    return [
        f"{count} float tensors inside If, Loop or Scan bodies have no scale; TensorRT runs those layers in float"
    ]


def _tensors(names: Collection[str]) -> str:
    return f"{'tensor' if len(names) == 1 else 'tensors'} {listed([repr(name) for name in names])}"
