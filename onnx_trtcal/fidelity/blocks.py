"""Blocks: channels of an output whose magnitudes belong together, and what quantization does to each.

One figure over an output that holds boxes in pixels beside scores below 1 sees the boxes alone. So error is measured
against the power of the block that it is in, and the worst block is the verdict. An output that is a tensor of its own
is at least one block.

    finder, errors = BlockFinder(layouts), BlockErrors(layouts)
    for every batch and output:
        finder.add(output, fp32, rows)
        errors.add(output, fp32, int8, rows)
    found = errors.of(finder.blocks())
    worst(found), mean_relative(found)

One finder serves any number of `BlockErrors`, which may be variants of one model.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.fidelity.channel_sums import TensorSums, sample_power
from onnx_trtcal.fidelity.distance import decibels
from onnx_trtcal.fidelity.magnitude_groups import LEAST_CHANNELS, group_bounds, spread
from onnx_trtcal.graph.output_blocks import OutputBlocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Block", "BlockError", "BlockErrors", "BlockFinder", "mean_relative", "worst"]

# A block with less energy per sample, as a share of the square of the output's largest value, is no verdict.
_FLOOR = 1e-6
# Longer axes count positions, not channels; and that many samples show whether magnitudes stay.
_LONGEST, _SAMPLES = 4096, 32


@dataclass(frozen=True)
class Block:
    """Some channels of an output, or all of it.

    Attributes:
        output: name of the output.
        axis: its channel axis, the batch axis counted; None for all of the output.
        start: the first channel.
        stop: the channel behind the last one.
    """

    output: str
    axis: int | None = None
    start: int = 0
    stop: int = 0

    @property
    def name(self) -> str:
        """The output, with the channels as NumPy would index them: `boxes`, `output[:, :, 4:5]`."""
        if self.axis is None:
            return self.output
        return f"{self.output}[{':, ' * self.axis}{self.start}:{self.stop}]"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class BlockError:
    """What quantization does to a block.

    Attributes:
        block: which one.
        noise: sum of (x - y)², over all samples, of the float model's values x and the quantized model's y.
        signal: sum of x².
        verdict: whether the block has power enough to be judged by: at least a millionth of the square of the
            output's largest value, per sample.
        values: how many pairs of finite values were compared.
    """

    block: Block
    noise: float
    signal: float
    verdict: bool
    values: int

    @property
    def relative(self) -> float:
        """The noise as a share of the block's own power; 0.0 without noise, inf with nothing but noise."""
        if self.signal > 0:
            return self.noise / self.signal
        return float("inf") if self.noise > 0 else 0.0

    @property
    def sqnr(self) -> float:
        """The same in dB; inf without noise, -inf with nothing but noise."""
        return decibels(self.signal, self.noise)


def worst(errors: Iterable[BlockError]) -> BlockError | None:
    """The block with the lowest SQNR among those that are a verdict, the first of equal ones; None without any."""
    return min((each for each in errors if each.verdict), key=lambda each: each.sqnr, default=None)


def mean_relative(errors: Iterable[BlockError]) -> float:
    """The mean over the blocks that are a verdict of noise / signal: the smooth objective of a search.

    Without any such block, 1.0 where there is noise and 0.0 where there is none.
    """
    found = list(errors)
    ratios = [each.relative for each in found if each.verdict]
    return float(np.mean(ratios)) if ratios else float(any(each.noise > 0 for each in found))


class BlockErrors:
    """Error and power per channel of several outputs, added sample by sample in float64.

    Args:
        layouts: output -> what the graph says of its channels (`graph.output_blocks`); outputs that are not in it are
            taken to have said nothing.
    """

    def __init__(self, layouts: Mapping[str, OutputBlocks]) -> None:
        self._layouts = layouts
        self._sums: dict[str, TensorSums] = {}

    def add(self, output: str, expected: np.ndarray, got: np.ndarray, rows: int | None = None) -> None:
        """Adds an output's values from both models.

        Args:
            output: its name.
            expected: the float model's values, of any float type.
            got: the quantized model's, of the same shape.
            rows: how many rows of axis 0 to add, each as a sample; None where axis 0 counts something else.
        """
        if output not in self._sums:
            self._sums[output] = TensorSums(_axes(self._layouts.get(output), expected, rows))
        self._sums[output].add(expected, got, rows)

    def of(self, blocks: Iterable[Block]) -> tuple[BlockError, ...]:
        """The error of each block; those of outputs that nothing was added for are left out.

        Args:
            blocks: from a `BlockFinder` with the same layouts that was given the same outputs.
        """
        return tuple(self._error(block) for block in blocks if block.output in self._sums)

    def _error(self, block: Block) -> BlockError:
        total = self._sums[block.output]
        sums = total.along(block.axis)
        part = slice(None) if block.axis is None else slice(block.start, block.stop)
        signal, noise = float(sums.signal[part].sum()), float(sums.noise[part].sum())
        floor = _FLOOR * total.largest**2 * total.samples
        values = int(sums.values[part].sum())
        return BlockError(block, noise, signal, signal > 0 and signal >= floor, values)


class BlockFinder:
    """Finds the blocks of several outputs: from what the graph says of them, else from the float model's values.

    By magnitude an output falls into blocks only where nothing else tells, where it has positions beside its channels,
    and where groups of at least 4 channels differ tenfold in RMS, see `magnitude_groups`. Scores that add up to 1 are
    one block.

    Args:
        layouts: as for `BlockErrors`.
    """

    def __init__(self, layouts: Mapping[str, OutputBlocks]) -> None:
        self._layouts = layouts
        self._seen: dict[str, _Magnitudes] = {}
        self._found: tuple[Block, ...] | None = None

    def add(self, output: str, expected: np.ndarray, rows: int | None = None) -> None:
        """Adds an output's values from the float model; arguments as for `BlockErrors.add`."""
        layout = self._layouts.get(output, OutputBlocks())
        if output not in self._seen:
            self._seen[output] = _Magnitudes(layout, _axes(layout, expected, rows), expected.shape)
        self._seen[output].add(expected, rows)
        self._found = None

    def blocks(self) -> tuple[Block, ...]:
        """The blocks of every output that was added, in that order."""
        if self._found is None:
            self._found = tuple(block for name, seen in self._seen.items() for block in seen.blocks(name))
        return self._found


class _Magnitudes:
    """The power of one output along every axis that may count its channels."""

    def __init__(self, layout: OutputBlocks, axes: Sequence[int], shape: tuple[int, ...]) -> None:
        self._layout = layout
        self._axes = axes
        self._size = shape[layout.axis] if layout.axis is not None and layout.axis < len(shape) else 0
        # What the graph says needs no values.
        self._told = bool(self._bounds()) or layout.whole
        self._sums = TensorSums(axes)
        self._samples: dict[int, list[np.ndarray]] = {axis: [] for axis in axes}
        self._has_positions = False
        self._distributions = set(axes)

    def add(self, expected: np.ndarray, rows: int | None) -> None:
        if self._told or not self._axes:
            return
        self._sums.add(expected, expected, rows)
        by_row = rows is not None and 0 not in self._axes
        for sample in expected[:rows] if by_row else (expected,):
            for axis in self._axes:
                at = axis - 1 if by_row else axis
                self._has_positions |= sample.size > sample.shape[at] > 0
                if len(self._samples[axis]) < _SAMPLES:
                    self._samples[axis].append(sample_power(sample, at))
                if axis in self._distributions and not _adds_up_to_one(sample, at):
                    self._distributions.remove(axis)

    def blocks(self, output: str) -> list[Block]:
        axis, bounds = self._layout.axis, self._bounds()
        size = self._size
        if not self._told and self._has_positions and not self._distributions:
            axis, size, bounds = self._by_magnitude()
        if not bounds or axis is None:
            return [Block(output)]
        edges = (0, *bounds, size)
        return [Block(output, axis, *pair) for pair in itertools.pairwise(edges)]

    def _bounds(self) -> tuple[int, ...]:
        """Those that the graph states, unless the output is not what it says."""
        bounds = self._layout.bounds
        return bounds if bounds and bounds[-1] < self._size else ()

    def _by_magnitude(self) -> tuple[int | None, int, tuple[int, ...]]:
        means = {}
        for axis in self._axes:
            sums = self._sums.along(axis)
            means[axis] = sums.signal / np.maximum(sums.values, 1)
        # The axis whose profile stays while items and positions vary is the one that channels are counted along.
        axis = max(self._axes, key=lambda each: spread(means[each]))
        power = means[axis]
        samples = [each for each in self._samples[axis] if each.size == power.size]
        return axis, power.size, group_bounds(power, samples)


def _axes(layout: OutputBlocks | None, array: np.ndarray, rows: int | None) -> tuple[int, ...]:
    """The axes that may count an output's channels."""
    if layout is not None and layout.axis is not None and layout.axis < array.ndim:
        return (layout.axis,)
    first = 0 if rows is None else 1
    return tuple(at for at in range(first, array.ndim) if LEAST_CHANNELS < array.shape[at] <= _LONGEST)


def _adds_up_to_one(sample: np.ndarray, axis: int) -> bool:
    """Whether an axis holds probabilities of which one comes true."""
    if not sample.size:
        return False
    values = sample.astype(np.float64)
    return bool(values.min() >= 0 and np.allclose(values.sum(axis), 1, atol=1e-3))
