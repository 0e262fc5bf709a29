"""Two engines side by side: the layers that one runs in INT8 and the other does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_trtcal.trt.compiler.compile_model import Compilation

__all__ = ["ABSENT", "Difference", "find_differences"]

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """A layer that two models run in different types; `absent` where a model has no layer of this name."""

    name: str
    op: str
    first: str
    second: str


def find_differences(first: Compilation, second: Compilation) -> tuple[Difference, ...]:
    """The layers whose type differs, matched by name, in the order of the first model, then of the second."""
    ops = {layer.name: layer.op for layer in (*first.layers, *second.layers)}
    types = [{layer.name: layer.precision for layer in each.layers} for each in (first, second)]
    pairs = ((name, op, *(each.get(name, ABSENT) for each in types)) for name, op in ops.items())
    return tuple(Difference(*pair) for pair in pairs if pair[2] != pair[3])
