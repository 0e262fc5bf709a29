"""Thresholds by `auto`: candidates, their errors, the choice, tensor by tensor."""

from __future__ import annotations

from onnx_trtcal.search.candidates import candidates
from onnx_trtcal.search.choose import choose
from onnx_trtcal.search.sensitivity import Judge
from onnx_trtcal.search.subgraph import Cutter
from onnx_trtcal.search.task import Chosen, Task, to_judge

__all__ = ["solve_auto"]


def solve_auto(task: Task) -> dict[str, Chosen]:
    """The threshold of every tensor, by what it does to the network's outputs.

    Per tensor and sample that is one run of the network, and up to 19 of its part behind the tensor, mostly
    about ten. In CPU time: 45 seconds for squeezenet1.1 (0.35 billion multiply-adds, 18 tensors), 2 for a
    keyword spotter of 2.7 million. `most_samples` keeps it below a minute up to half a billion; from there
    on it grows with the model. Deterministic for the same samples; only one sample's activations are alive
    at a time.

    Raises:
        ModelError: when ONNX Runtime cannot run a part of the model.
    """
    judged = to_judge(task.prepared, task.tensors)
    found, samples, listener = task.fallback(), task.samples, task.listener
    if not judged or not samples:
        return found
    listener.say(f"auto: {len(judged)} tensors, each quantized alone on {len(samples)} samples")
    judge = Judge(Cutter(task.prepared.folded, task.prepared.model), samples, task.session_options)
    with listener.progress(len(judged) * len(samples), "judging") as advance:
        for names, activations in judged.items():
            tried = candidates(task.histograms[names[0]])
            best = choose(tried, judge.errors(activations, tried)) if len(tried) > 1 else None
            if best is not None:
                found.update({name: Chosen(tried[best], best) for name in names if name in found})
            advance(len(samples))
    return found
