"""What a search minimizes: the mean over the blocks of the outputs of error power relative to the block's own power."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.fidelity.blocks import BlockErrors, BlockFinder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx_trtcal.fidelity.blocks import Block
    from onnx_trtcal.graph.output_blocks import OutputBlocks

__all__ = ["Objective", "relative_error"]

Outputs = dict[str, np.ndarray]


class Objective:
    """Measures outputs against exact ones, block by block (`fidelity.blocks`).

    Args:
        layouts: output -> what the graph says of its channels.
        exact: the float outputs of each of some samples, from which the blocks are found.

    Attributes:
        blocks: those that have power enough to be judged by.
    """

    def __init__(self, layouts: Mapping[str, OutputBlocks], exact: Iterable[Outputs]) -> None:
        finder, errors = BlockFinder(layouts), BlockErrors(layouts)
        for outputs in exact:
            for name, values in outputs.items():
                finder.add(name, values)
                errors.add(name, values, values)
        self.blocks = tuple(each.block for each in errors.of(finder.blocks()) if each.verdict)

    def signal(self, exact: Outputs) -> np.ndarray:
        """float64[blocks]: the power of each block in one sample's outputs, a sum of squares."""
        return np.array([_power(_part(exact[block.output], block)) for block in self.blocks])

    def noise(self, exact: Outputs, got: Outputs) -> np.ndarray:
        """float64[blocks]: the power of the error in each block, a sum of squares.

        Args:
            exact: one sample's float outputs.
            got: outputs to compare; those that are missing have no error, and those whose shape differs, as behind
                an op that depends on values, are as far off as zeros are.
        """
        return np.array(
            [self._noise(exact[block.output], got.get(block.output), block) for block in self.blocks]
        )

    @staticmethod
    def _noise(exact: np.ndarray, got: np.ndarray | None, block: Block) -> float:
        if got is None:
            return 0.0
        expected = _part(exact, block)
        if got.shape != exact.shape:
            return _power(expected)
        return _power(expected - _part(got, block))


def relative_error(noise: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """The mean over blocks of noise / signal, both added up over samples.

    Args:
        noise: float64[..., samples, blocks].
        signal: float64[samples, blocks], of the same samples.

    Returns:
        float64[...]; 0 where no block has any power.
    """
    total = signal.sum(0)
    some = total > 0
    if not some.any():
        return np.zeros(noise.shape[:-2])
    return np.asarray((noise.sum(-2)[..., some] / total[some]).mean(-1))


def _part(values: np.ndarray, block: Block) -> np.ndarray:
    part = (
        values
        if block.axis is None
        else values[(slice(None),) * block.axis + (slice(block.start, block.stop),)]
    )
    return part.astype(np.float64)


def _power(values: np.ndarray) -> float:
    """The sum of squares of the finite values, added up in one order whatever the machine."""
    flat = values.ravel()
    flat = flat[np.isfinite(flat)]
    # BLAS would split the sum among threads, and those that wait spin on the cores that run the network.
    return float(np.einsum("i,i->", flat, flat))
