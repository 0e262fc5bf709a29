"""The list of methods: the name of each, what it needs, and where its solver is.

A method is one file with a solver, and one entry here. Solvers are named by dotted paths and imported when they
are first used: listing the methods imports none of them, and a method that runs the model lives in the room `search`,
above this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LEAST_ERROR",
    "METHODS",
    "NOTHING_CLIPPED",
    "Argument",
    "Needs",
    "Registration",
    "TableRow",
    "imported",
    "table",
]

Needs = Literal["histogram", "second pass", "model"]


@dataclass(frozen=True)
class Argument:
    """What may follow a method's name and a colon: a number over 0 and up to `most`."""

    name: str
    default: float
    most: float


@dataclass(frozen=True)
class Registration:
    """One method.

    Attributes:
        name: as `--method` takes it.
        description: one line for the user.
        solver: `module:function`, in the package. The function takes what the method needs, and the argument
            where the method has one:

            * "histogram": (Histogram) -> threshold
            * "second pass": (what `second_pass` makes) -> threshold
            * "model": (search.task.Task) -> {observed tensor: Chosen}
        needs: what has to be at hand to solve a tensor: its histogram; what a second pass over the data counts,
            over a range known from the first; or the model and samples to run it on.
        argument: what may follow the name; None when nothing may.
        second_pass: `module:class` of a SecondPass, which is made with the tensor's largest magnitude.
        fallback: for a method that runs the model, the method to take where that cannot be done.
    """

    name: str
    description: str
    solver: str
    needs: Needs = "histogram"
    argument: Argument | None = None
    second_pass: str = ""
    fallback: str = ""

    @property
    def from_statistics(self) -> str:
        """Whether statistics alone are enough, as `solve` has them: yes, or no and why."""
        if self.needs == "histogram":
            return "yes"
        if self.needs == "second pass":
            return "no, it reads the data a second time"
        return f"no, it runs the model: {self.fallback} stands in"


METHODS: Mapping[str, Registration] = {
    each.name: each
    for each in (
        Registration(
            "entropy",
            "TensorRT's EntropyCalibration2: least Kullback-Leibler divergence over 2048 bins",
            "methods.entropy:solve",
        ),
        Registration(
            "minmax",
            "TensorRT's MinMaxCalibration: the largest magnitude, nothing clipped",
            "methods.minmax:solve",
        ),
        Registration(
            "percentile",
            "keep that percent of all values",
            "methods.percentile:solve",
            argument=Argument("PERCENT", default=99.99, most=100.0),
        ),
        Registration(
            "legacy",
            "the quantile of TensorRT's legacy calibrator, over 2048 bins",
            "methods.legacy:solve",
            argument=Argument("QUANTILE", default=0.999999, most=1.0),
        ),
        Registration("mse", "least mean squared quantization error", "methods.mse:solve"),
        Registration(
            "mxnet",
            "MXNet's entropy calibration: 4001 signed bins; needs a second pass",
            "methods.mxnet:solve",
            needs="second pass",
            second_pass="methods.mxnet:SignedHistogram",
        ),
        Registration(
            "auto",
            "the thresholds that together disturb the network's outputs least; runs the model ten times a sample",
            "search.auto:solve",
            needs="model",
            fallback="mse",
        ),
        Registration(
            "easyquant",
            "per layer the scales of input and weights that change its INT8 output least (EasyQuant); runs each layer",
            "search.easyquant:solve",
            needs="model",
            fallback="mse",
        ),
    )
}

LEAST_ERROR = "mse"
"""The method to measure others by: no threshold has a smaller mean squared error."""
NOTHING_CLIPPED = "minmax"
"""The method for tensors whose largest values count."""


class TableRow(NamedTuple):
    """One method as documentation lists it; `argument` is empty where the method takes none."""

    name: str
    argument: str
    description: str
    from_statistics: str


def table() -> list[TableRow]:
    """Every method, for `--help` and the README."""
    return [
        TableRow(
            each.name, each.argument.name if each.argument else "", each.description, each.from_statistics
        )
        for each in METHODS.values()
    ]


def imported(path: str) -> Any:
    """What a path `module:name` in the package stands for."""
    module, _, name = path.partition(":")
    return getattr(import_module(f"{__package__.partition('.')[0]}.{module}"), name)
