"""Methods: what turns a tensor's histogram into a threshold. One solver per module, pure and deterministic.

Importing this package is cheap; a solver, and numba with it, is imported when a method is first used.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError, StatisticsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onnx_trtcal.methods.mxnet import SignedHistogram
    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["METHODS", "Kind", "Method", "parse_method", "solve_all"]


@dataclass(frozen=True)
class Kind:
    """One entry of the list of methods.

    `argument` names what may follow a colon ("" when nothing may), over 0 and up to `most`; `signed`
    methods solve a SignedHistogram, all others a Histogram. `solver` is the function of `module` (default:
    the one of the method's name) that takes the histogram and, where there is one, the argument. `judged`
    methods choose by running the model; their solver is what stands in where only a histogram is at hand.
    """

    description: str
    argument: str = ""
    default: float | None = None
    most: float | None = None
    signed: bool = False
    judged: bool = False
    module: str = ""
    solver: str = "solve"

    @property
    def from_statistics(self) -> bool:
        """Whether a statistics file holds all that the method needs."""
        return not self.signed and not self.judged


METHODS: Mapping[str, Kind] = {
    "entropy": Kind("TensorRT's EntropyCalibration2: least Kullback-Leibler divergence over 2048 bins"),
    "minmax": Kind("TensorRT's MinMaxCalibration: the largest magnitude, nothing clipped"),
    "percentile": Kind("keep that percent of all values", "PERCENT", default=99.99, most=100.0),
    "legacy": Kind(
        "the quantile of TensorRT's legacy calibrator, over 2048 bins",
        "QUANTILE",
        default=0.999999,
        most=1.0,
        module="percentile",
        solver="solve_legacy",
    ),
    "mse": Kind("least mean squared quantization error"),
    "mxnet": Kind("MXNet's entropy calibration: 4001 signed bins; needs a second pass", signed=True),
    "auto": Kind(
        "per tensor the threshold that disturbs the network's outputs least; runs the model for each tensor",
        judged=True,
        module="mse",
    ),
    "easyquant": Kind(
        "per layer input the scale that turns the layer's INT8 output least (EasyQuant); runs each layer",
        judged=True,
        module="mse",
    ),
}


@dataclass(frozen=True)
class Method:
    """A method and its argument, as `parse_method` makes it; str() gives the text back."""

    name: str
    argument: float | None = None

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name}:{self.argument!r}"

    @property
    def kind(self) -> Kind:
        return METHODS[self.name]

    def solve(self, histogram: Histogram | SignedHistogram) -> float:
        """The threshold for one tensor, in its units, rounded to float32 as TensorRT does.

        0.0 for an all-zero tensor, and for no other (unless its values are zero in float32).

        Raises:
            StatisticsError: when the histogram is not of the kind that the method solves.
        """
        import numpy as np

        if (histogram.rule == "signed") != self.kind.signed:
            wanted, given = ("signed", "unsigned") if self.kind.signed else ("unsigned", "signed")
            raise StatisticsError(
                f"{self.name} solves {wanted} histograms and was given an {given} one",
                fix=f"collect again with --method {self.name}" if self.kind.signed else "choose method mxnet",
            )
        solver = getattr(import_module(f"{__name__}.{self.kind.module or self.name}"), self.kind.solver)
        threshold = solver(histogram) if self.argument is None else solver(histogram, self.argument)
        return float(np.float32(min(threshold, float(np.finfo(np.float32).max))))


def parse_method(text: str) -> Method:
    """A method from `entropy`, `percentile:99.9` …; the default argument is filled in.

    Raises:
        OptionError: on a name that is no method, or an argument it does not take.
    """
    name, colon, given = text.strip().partition(":")
    kind = METHODS.get(name)
    if kind is None:
        near = did_you_mean(name, METHODS)
        raise OptionError(
            f"{name!r} is no method" + (f"; {near}" if near else ""),
            fix=f"choose one of {', '.join(METHODS)}",
        )
    if not colon:
        return Method(name, kind.default)
    if not kind.argument:
        raise OptionError(f"method {name} takes no argument, so {text!r} means nothing", fix=f"write {name}")
    try:
        argument = float(given)
    except ValueError:
        argument = -1.0
    if kind.most is None or not 0 < argument <= kind.most:
        raise OptionError(
            f"the {kind.argument.lower()} in {text!r} is not a number over 0 and up to {kind.most:g}",
            fix=f"write {name}:{kind.default!r}",
        )
    return Method(name, argument)


def solve_all(
    histograms: Mapping[str, Histogram | SignedHistogram],
    method_of: Callable[[str], Method],
    threads: int | None = None,
) -> dict[str, float]:
    """The threshold of every tensor, by the method that `method_of` names for it.

    Tensors are solved side by side (the solvers let go of the GIL); the result does not depend on `threads`.

    Args:
        threads: at most so many at a time; None for one per core.

    Returns:
        Thresholds in the order of `histograms`.

    Raises:
        StatisticsError: as Method.solve, naming the tensor.
    """

    def solve(name: str) -> float:
        try:
            return method_of(name).solve(histograms[name])
        except StatisticsError as error:
            raise StatisticsError(error.what, where=f"tensor {name!r}", fix=error.fix) from error

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        return dict(zip(histograms, pool.map(solve, histograms), strict=True))
