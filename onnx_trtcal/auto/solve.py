"""Thresholds by `auto`: candidates, their errors, the choice, tensor by tensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.auto.candidates import candidates
from onnx_trtcal.auto.choose import choose
from onnx_trtcal.graph.fuse import find_groups
from onnx_trtcal.methods import parse_method
from onnx_trtcal.qdq.options import QdqOptions
from onnx_trtcal.qdq.place import place

if TYPE_CHECKING:
    import numpy as np

    from onnx_trtcal.calibration import Prepared
    from onnx_trtcal.listener import Listener
    from onnx_trtcal.options import Options
    from onnx_trtcal.qdq.placement import Activation
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["Chosen", "most_samples", "solve_auto", "to_judge"]

# Tensors times samples: what bounds the work. At least 8 samples, whatever the number of tensors.
_BUDGET = 1024
_FEWEST, _MOST = 8, 128
# A cache is used without Q/DQ nodes, where TensorRT may run every layer in INT8.
_EVERYTHING = QdqOptions(min_channels=1, gemv=True)
_UNJUDGED = "mse"


@dataclass(frozen=True)
class Chosen:
    """A threshold, and how it is called among the candidates: a method, or a share of amax."""

    threshold: float
    candidate: str


def to_judge(prepared: Prepared, tensors: Collection[str]) -> dict[tuple[str, ...], list[Activation]]:
    """What is quantized together: observed tensors of one threshold -> the pairs they answer for.

    Args:
        tensors: the observed tensors that `auto` solves; those that no INT8 kernel reads are left out.
    """
    plan = prepared.plan
    together = {name: names for names in plan.merged for name in names}
    found: dict[tuple[str, ...], list[Activation]] = {}
    groups = find_groups(prepared.folded, prepared.model.shapes)
    for activation in place(prepared.folded, groups, _EVERYTHING, plan.answers).activations:
        answer = plan.answers[activation.tensor]
        if answer.how != "constant" and answer.source in tensors:
            names = together.get(answer.source, (answer.source,))
            found.setdefault(names, []).append(activation)
    return found


def most_samples(judged: int) -> int:
    """How many samples to judge so many tensors by: 1024 / judged, from 8 to 128."""
    return min(max(_BUDGET // max(judged, 1), _FEWEST), _MOST)


def solve_auto(
    prepared: Prepared,
    histograms: Mapping[str, Histogram],
    tensors: Sequence[str],
    samples: Sequence[Mapping[str, np.ndarray]],
    options: Options,
    provider: Provider,
    listener: Listener,
) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the network's outputs.

    Per tensor and sample that is one run of the network, and up to 19 of its part behind the tensor, mostly
    about ten. Deterministic for the same samples; only one sample's activations are alive at a time.

    Args:
        histograms: per observed tensor; those of tied tensors added up.
        tensors: the observed tensors to solve.
        samples: one feed per sample, from `Kept` or `read_again`.
        listener: is told of the progress.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    from onnx_trtcal.auto.cut import Cutter
    from onnx_trtcal.auto.judge import Judge

    judged = to_judge(prepared, tensors)
    unjudged = parse_method(_UNJUDGED)
    found = {name: Chosen(unjudged.solve(histograms[name]), _UNJUDGED) for name in tensors}
    if not judged or not samples:
        return found
    listener.say(f"auto: {len(judged)} tensors, each quantized alone on {len(samples)} samples")
    cutter = Cutter(prepared.folded, prepared.model)
    judge = Judge(cutter, samples, provider, options.threads, options.ort_custom_ops)
    with listener.progress(len(judged) * len(samples)) as advance:
        for names, activations in judged.items():
            tried = candidates(histograms[names[0]])
            best = choose(tried, judge.errors(activations, tried)) if len(tried) > 1 else None
            if best is not None:
                found.update({name: Chosen(tried[best], best) for name in names if name in found})
            advance(len(samples))
    return found
