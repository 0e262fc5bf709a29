"""How a model is compiled: for which GPU, with which input shapes, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["GPUS", "CompileOptions", "parse_shapes"]

# The compute capabilities that the compiler targets and that have its INT8 kernels: Ampere, Ada and Blackwell
# GeForce and RTX cards. On SM75 and SM80 it runs next to nothing in INT8, which says nothing about TensorRT there.
GPUS = ("sm86", "sm89", "sm120")
_LONGEST = 1e6  # seconds


@dataclass(frozen=True)
class CompileOptions:
    """What to compile for.

        >>> from onnx_trtcal import CompileOptions
        >>> CompileOptions(gpu="sm120", shapes={"input": (1, 3, 224, 224)}).timeout
        900.0

    Attributes:
        gpu: compute capability, one of `GPUS`.
        shapes: input -> its shape, for inputs with dimensions that the model leaves open; for an input that the
            network reads as a shape, its values.
        timeout: seconds after which a build is given up.
    """

    gpu: str = "sm86"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    timeout: float = 900.0

    def __post_init__(self) -> None:
        if self.gpu not in GPUS:
            raise OptionError(f"gpu is {self.gpu!r}", fix=f"choose one of {', '.join(GPUS)}")
        if not 0 < self.timeout <= _LONGEST:
            raise OptionError(
                f"timeout is {self.timeout:g}, which is not a positive number of seconds up to {_LONGEST:,.0f}"
            )


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Reads shapes written as for trtexec, `name:1x3x224x224` or several of these with commas between them.

    Raises:
        OptionError: when a text is not written like that, or names an input twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for part in (part for text in texts for part in text.split(",")):
        name, _, sizes = part.rpartition(":")
        numbers = sizes.split("x")
        if not name or not all(number.isdecimal() for number in numbers):
            raise OptionError(f"{part!r} is not an input's shape", fix="write --shapes name:1x3x224x224")
        if name in shapes:
            raise OptionError(f"--shapes names the input {name!r} twice")
        shapes[name] = tuple(map(int, numbers))
    return shapes
