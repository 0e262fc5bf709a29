"""A method as the user chose it: a name and an argument, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from onnx_trtcal.errors import OptionError, StatisticsError, did_you_mean
from onnx_trtcal.methods.registry import METHODS, Needs, Registration, imported

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["Chosen", "Method", "SecondPass", "parse_method"]


class SecondPass(Protocol):
    """Counts a tensor in a second pass over the data; the order of the values plays no part."""

    def add(self, values: np.ndarray) -> None:
        """Counts an array of any shape and float dtype."""

    def merge(self, other: Self) -> None:
        """Adds the counts of another part of the same data."""


@dataclass(frozen=True)
class Chosen:
    """What a method that runs the model chose for a tensor.

    Attributes:
        threshold: the largest magnitude kept, in the tensor's units.
        candidate: the name of the threshold among those tried: a method, or a share of amax; "" for no name.
    """

    threshold: float
    candidate: str


@dataclass(frozen=True)
class Method:
    """A method and its argument, as `parse_method` makes it; str() gives the text back."""

    name: str
    argument: float | None = None

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name}:{self.argument!r}"

    @property
    def registration(self) -> Registration:
        """The method's entry in the list."""
        return METHODS[self.name]

    @property
    def needs(self) -> Needs:
        """What has to be at hand to solve a tensor."""
        return self.registration.needs

    @property
    def fallback(self) -> Method | None:
        """What stands in where the model cannot be run; None for a method that does not run it."""
        name = self.registration.fallback
        return parse_method(name) if name else None

    def solve(self, counted: Histogram | SecondPass) -> float:
        """The threshold for one tensor, in its units, rounded to float32 as TensorRT does.

        0.0 for an all-zero tensor, and for no other (unless its values are zero in float32). A method that runs
        the model solves a histogram by its fallback.

        Args:
            counted: the tensor's histogram; for a method of two passes, what its second pass counted.

        Raises:
            StatisticsError: when that is not what the method solves.
        """
        if self.fallback is not None:
            return self.fallback.solve(counted)
        self._check(counted)
        threshold = self._call_solver(counted)
        import numpy as np

        return float(np.float32(min(threshold, float(np.finfo(np.float32).max))))

    def second_pass(self, amax: float) -> SecondPass:
        """What counts a tensor in the second pass over the data.

        Args:
            amax: the tensor's largest magnitude, from the first pass.
        """
        made: SecondPass = imported(self.registration.second_pass)(amax)
        return made

    def search(self, task: Any) -> Mapping[str, Chosen]:
        """What a method that runs the model chooses for each tensor of a `search.task.Task`.

        Raises:
            ModelError: when ONNX Runtime cannot run a part of the model.
        """
        found: Mapping[str, Chosen] = self._call_solver(task)
        return found

    def label(self, chosen: Chosen | None = None) -> str:
        """What a sidecar calls it: `auto:mse`, `auto:amax*0.707`, `easyquant`, or as the user wrote it."""
        if self.fallback is None:
            return str(self)
        candidate = chosen.candidate if chosen else str(self.fallback)
        return f"{self}:{candidate}" if candidate else str(self)

    def _call_solver(self, given: Any) -> Any:
        solver = imported(self.registration.solver)
        return solver(given) if self.argument is None else solver(given, self.argument)

    def _check(self, counted: Histogram | SecondPass) -> None:
        from onnx_trtcal.stats.histogram import Histogram

        if self.needs != "second pass":
            if not isinstance(counted, Histogram):
                raise StatisticsError(
                    f"{self.name} solves the histogram of a first pass, not what the second pass of another "
                    "method counted",
                    fix="give the histogram, or choose the method that asked for the second pass",
                )
        elif not isinstance(counted, imported(self.registration.second_pass)):
            raise StatisticsError(
                f"{self.name} solves what a second pass over the data counts, and there is none in statistics",
                fix=f"calibrate with the data and --method {self.name}",
            )


def parse_method(text: str) -> Method:
    """A method from `entropy`, `percentile:99.9` …; the default argument is filled in.

    Raises:
        OptionError: when there is no method of that name, or it does not take the argument.
    """
    name, colon, given = text.strip().partition(":")
    if name not in METHODS:
        near = did_you_mean(name, METHODS)
        raise OptionError(
            f"{name!r} is not a method" + (f"; {near}" if near else ""),
            fix=f"choose one of {', '.join(METHODS)}",
        )
    wanted = METHODS[name].argument
    if not colon:
        return Method(name, wanted.default if wanted else None)
    if wanted is None:
        raise OptionError(f"method {name} takes no argument, so {text!r} means nothing", fix=f"write {name}")
    try:
        argument = float(given)
    except ValueError:
        argument = -1.0
    if not 0 < argument <= wanted.most:
        raise OptionError(
            f"the {wanted.name.lower()} in {text!r} is not a number over 0 and up to {wanted.most:g}",
            fix=f"write {name}:{wanted.default!r}",
        )
    return Method(name, argument)
