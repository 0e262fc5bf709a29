"""Tensors that their method clips so hard that another one would serve them far better."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.methods import LEAST_ERROR, parse_method
from onnx_trtcal.methods.score import score
from onnx_trtcal.support.cores import cores
from onnx_trtcal.support.printable import shell_word

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration

__all__ = ["SEVERAL_TIMES", "Overclipped", "clip_warnings", "flags_for", "overclipped"]

# Flags for so many tensors are advice; beyond that it is the method that does not suit the model.
_MOST_FLAGS = 5
# Four times the error is 6 dB, or one bit of the eight.
SEVERAL_TIMES = 4.0


@dataclass(frozen=True)
class Overclipped:
    """An observed tensor whose mean squared error is several times the least possible one.

    Attributes:
        tensor: its name.
        method: the method that chose its threshold.
        threshold: that threshold.
        better: the threshold of the method with the least error.
        times: the error with `threshold` over the error with `better`.
    """

    tensor: str
    method: str
    threshold: float
    better: float
    times: float


def overclipped(calibration: Calibration) -> list[Overclipped]:
    """The tensors whose threshold lies below that of the least error and causes SEVERAL_TIMES that error, worst first.

    Tensors whose method ran the model are left out: it saw what clipping them harder does. So are the products of
    Gemms, which no kernel stores where TensorRT adds the bias at once.
    """
    products = calibration.prepared.plan.products
    histograms, methods = calibration.histograms, calibration.prepared.methods
    least = parse_method(LEAST_ERROR)

    def compare(tensor: str) -> Overclipped | None:
        histogram, threshold = histograms[tensor], calibration.thresholds[tensor]
        if tensor in products or methods[tensor].needs == "model" or not 0 < threshold < histogram.amax:
            return None
        better = least.solve(histogram)
        error, best = score(histogram, threshold).mse, score(histogram, better).mse
        if threshold >= better or error < SEVERAL_TIMES * best:
            return None
        times = error / best if best > 0 else float("inf")
        return Overclipped(tensor, calibration.scales[tensor].method, threshold, better, times)

    with ThreadPoolExecutor(calibration.options.threads or cores()) as pool:
        found = [each for each in pool.map(compare, calibration.thresholds) if each]
    return sorted(found, key=lambda each: (-each.times, each.tensor))


def clip_warnings(found: list[Overclipped], calibration: Calibration) -> list[str]:
    """What is said of the tensors that are clipped too hard: what to pass for each of a few, or one line for many."""
    if len(found) <= _MOST_FLAGS:
        return [
            f"{each.method} clips {each.tensor!r} at {each.threshold:.6g}, with {each.times:.1f} times the error of "
            f"mse's threshold {each.better:.6g}: pass {flags_for([each], calibration)}"
            for each in found
        ]
    methods = ", ".join(dict.fromkeys(each.method for each in found))
    worst = found[0]
    fix = (
        "solve with --method mse, or calibrate again, with the data, by --method auto"
        if calibration.feeding is None
        else "pass --method auto, which goes by the model's outputs (or mse, which takes no longer)"
    )
    text = (
        f"{methods} clips {len(found)} of {len(calibration.histograms)} measured tensors too hard, with at least "
        f"{SEVERAL_TIMES:g} times the error of mse's threshold ({worst.times:,.0f} times at {worst.tensor!r}): {fix}"
    )
    return [text]


def flags_for(tensors: list[Overclipped], calibration: Calibration) -> str:
    """The flags, quoted for a shell, that give each of the tensors the method with the least error."""
    types = set(calibration.prepared.plan.op_types.values())
    rules = [f"{_pattern(each.tensor, types)}={LEAST_ERROR}" for each in tensors]
    return " ".join(f"--method-for {shell_word(rule)}" for rule in rules)


def _pattern(tensor: str, op_types: set[str]) -> str:
    # A name that is also an op type would stand for all tensors of that type.
    return f"[{tensor[0]}]{tensor[1:]}" if tensor in op_types else tensor
