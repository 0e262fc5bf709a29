"""Outputs with as many rows as the values make them have, as a detector's: INT8 may change how many there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.evaluation.paired_run import PairedBatch
    from onnx_trtcal.graph.data_dependent import DataDependent
    from onnx_trtcal.support.progress import Listener

__all__ = ["Differing", "SizeCheck", "batch_size_for"]


@dataclass(frozen=True)
class Differing:
    """The samples for which two models make a tensor in different sizes.

    Attributes:
        samples: how many.
        first: the name of the first one.
        fp32: the float model's shape there.
        int8: the quantized model's.
    """

    samples: int
    first: str
    fp32: tuple[int, ...]
    int8: tuple[int, ...]


class SizeCheck:
    """Keeps apart, batch by batch, what can be compared value by value and what cannot.

    Attributes:
        differing: tensor -> where its sizes differed; tensors that never did are not in it.
    """

    def __init__(self) -> None:
        self.differing: dict[str, Differing] = {}

    def alike(self, both: PairedBatch, names: Iterable[str]) -> list[str]:
        """The names of the tensors that both models make in one shape.

        Raises:
            ModelError: a tensor has another number of axes in the other model, which is not made from this one.
        """
        found = []
        for name in names:
            fp32, int8 = both.fp32[name].shape, both.int8[name].shape
            if len(fp32) != len(int8):
                raise ModelError(
                    f"tensor {name!r} is {fp32} in FP32 and {int8} in INT8",
                    where=f"sample {both.batch.names[0]}",
                    fix="compare a model with its own quantized form",
                )
            if fp32 == int8:
                found.append(name)
                continue
            known = self.differing.get(name) or Differing(0, both.batch.names[0], fp32, int8)
            self.differing[name] = replace(known, samples=known.samples + both.batch.count)
        return found


def batch_size_for(feeding: Feeding, asked: int | None, counted: DataDependent, listener: Listener) -> int:
    """Samples per run: one, where several would share the rows of one output.

    Args:
        feeding: how the data is fed.
        asked: as `Feeding.batch_size` takes it.
        counted: what is compared and has a size that depends on values.
        listener: receives why samples are run one by one.
    """
    size = feeding.batch_size(asked)
    alone = feeding.batch_size(1) if counted.tensors else size
    if alone < size:
        names = [repr(name) for name in sorted(counted.tensors)]
        listener.say(f"samples are run one by one: the size of {listed(names)} depends on values")
    return alone
