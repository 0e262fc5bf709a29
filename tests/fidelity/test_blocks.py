"""Blocks, their errors and their verdict against sums written out in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.fidelity.blocks import Block, BlockErrors, BlockFinder, mean_relative, worst
from onnx_trtcal.graph.output_blocks import OutputBlocks

RNG = np.random.default_rng(0)


def blocks_of(
    arrays: list[np.ndarray], layout: OutputBlocks | None = None, rows: int | None = None
) -> tuple[Block, ...]:
    finder = BlockFinder({} if layout is None else {"y": layout})
    for array in arrays:
        finder.add("y", array, rows)
    return finder.blocks()


def detector(cells: int = 500, *, last: bool = True) -> np.ndarray:
    """One sample: 4 boxes in pixels, 6 scores below 1."""
    boxes = RNG.uniform(0, 400, size=(1, 4, cells))
    scores = RNG.uniform(0, 1, size=(1, 6, cells)) ** 4
    joined = np.concatenate([boxes, scores], axis=1).astype(np.float32)
    return np.ascontiguousarray(joined.transpose(0, 2, 1)) if last else joined


def test_names_are_numpy_indices() -> None:
    assert Block("y").name == "y"
    assert str(Block("y", 2, 4, 85)) == "y[:, :, 4:85]"
    assert Block("y", 1, 0, 4).name == "y[:, 0:4]"


def test_what_the_graph_says_counts() -> None:
    arrays = [RNG.normal(size=(1, 30, 9)).astype(np.float32)]
    blocks = (Block("y", 2, 0, 4), Block("y", 2, 4, 5), Block("y", 2, 5, 9))
    assert blocks_of(arrays, OutputBlocks(2, (4, 5))) == blocks
    # Unless the output turns out to have fewer channels.
    assert blocks_of(arrays, OutputBlocks(2, (4, 9))) == (Block("y"),)


@pytest.mark.parametrize("layout", [None, OutputBlocks(2)])
def test_magnitudes_tell_where_the_graph_does_not(layout: OutputBlocks | None) -> None:
    arrays = [detector() for _ in range(8)]
    assert blocks_of(arrays, layout, rows=1) == (Block("y", 2, 0, 4), Block("y", 2, 4, 10))
    assert blocks_of(arrays, layout) == (Block("y", 2, 0, 4), Block("y", 2, 4, 10))


def test_the_channel_axis_is_the_one_that_stays() -> None:
    arrays = [detector(last=False) for _ in range(8)]
    assert blocks_of(arrays, rows=1) == (Block("y", 1, 0, 4), Block("y", 1, 4, 10))


def test_classifiers_are_one_block_however_sparse() -> None:
    logits = [np.maximum(RNG.normal(size=(4, 1000)) * RNG.uniform(0, 30, 1000), 0) for _ in range(4)]
    assert blocks_of(logits, rows=4) == (Block("y"),)
    one_class = np.zeros((4, 1000), np.float32)
    one_class[:, 500:510] = 9
    assert blocks_of([one_class], OutputBlocks(1), rows=4) == (Block("y"),)
    assert blocks_of([one_class.reshape(4, 1000, 1, 1)], OutputBlocks(1), rows=4) == (Block("y"),)


def test_probabilities_at_every_position_are_one_block() -> None:
    logits = RNG.normal(size=(6, 20, 8, 8)) - np.repeat([0, 12], 10).reshape(1, 20, 1, 1)
    odds = np.exp(logits)
    assert len(blocks_of([odds], rows=6)) == 2
    assert blocks_of([odds / odds.sum(1, keepdims=True)], rows=6) == (Block("y"),)
    assert blocks_of([odds], OutputBlocks(1, (), whole=True), rows=6) == (Block("y"),)


def test_classes_that_come_and_go_are_one_block() -> None:
    scores = np.full((8, 12, 5, 5), 0.01)
    for sample in range(8):
        start = 0 if sample % 2 else 6
        scores[sample, start : start + 6] = 0.9
    scores[:, 6:] *= np.where(np.arange(8) == 0, 60, 1).reshape(8, 1, 1, 1)
    assert blocks_of([scores], OutputBlocks(1), rows=8) == (Block("y"),)


def test_fewer_than_four_channels_and_single_ones_are_no_group() -> None:
    power = np.ones((1, 50, 12))
    power[..., 5] = 100
    assert blocks_of([power], OutputBlocks(2)) == (Block("y"),)
    power[..., 3:] = 100
    assert blocks_of([power], OutputBlocks(2)) == (Block("y"),)


def test_every_output_is_a_block_of_its_own() -> None:
    finder, errors = BlockFinder({}), BlockErrors({})
    for name, scale in (("boxes", 100), ("scores", 1)):
        values = RNG.normal(size=(2, 6, 3)) * scale
        finder.add(name, values, rows=2)
        errors.add(name, values, values + 0.1, rows=2)
    found = errors.of(finder.blocks())
    assert [each.block for each in found] == [Block("boxes"), Block("scores")]
    verdict = worst(found)
    assert verdict is not None and verdict.block == Block("scores")


def test_a_block_without_power_is_reported_and_is_no_verdict() -> None:
    x = detector().astype(np.float64)
    x[..., 4:] *= 1e-9
    errors = BlockErrors({"y": OutputBlocks(2, (4,))})
    errors.add("y", x, x + 0.5)
    box, scores = errors.of((Block("y", 2, 0, 4), Block("y", 2, 4, 10)))
    assert box.verdict and not scores.verdict
    assert scores.relative > 1 and worst((box, scores)) is box
    assert mean_relative((box, scores)) == box.relative


def test_few_confident_scores_are_a_verdict_beside_boxes_in_pixels() -> None:
    x = np.zeros((1, 84, 8400), np.float32)
    x[:, :4] = RNG.uniform(0, 640, size=(1, 4, 8400))
    x[:, 20, 77:80] = 0.8
    errors = BlockErrors({"y": OutputBlocks(1, (4,))})
    errors.add("y", x, np.concatenate([x[:, :4] + 1, np.zeros((1, 80, 8400), np.float32)], 1), rows=1)
    verdict = worst(errors.of((Block("y", 1, 0, 4), Block("y", 1, 4, 84))))
    assert verdict is not None and verdict.block.start == 4 and verdict.sqnr == pytest.approx(0, abs=1e-6)


def test_silence_has_no_verdict() -> None:
    zero = np.zeros((1, 5, 4), np.float32)
    errors = BlockErrors({})
    errors.add("y", zero, zero)
    (found,) = errors.of((Block("y"),))
    assert (found.relative, found.sqnr, found.verdict) == (0.0, math.inf, False)
    assert worst([found]) is None and mean_relative([found]) == 0.0
    errors.add("y", zero, zero + 1)
    (found,) = errors.of((Block("y"),))
    assert (found.relative, found.sqnr) == (math.inf, -math.inf) and mean_relative([found]) == 1.0


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(1, 5)),
    st.integers(1, 2),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.data(),
)
def test_errors_are_those_of_the_slices(
    shape: tuple[int, int, int], axis: int, dtype: type, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, y = (random.normal(size=shape).astype(dtype) for _ in range(2))
    x.flat[0] = data.draw(st.sampled_from([1.0, np.inf, np.nan]))
    cut = data.draw(st.integers(1, shape[axis] - 1)) if shape[axis] > 1 else 0
    layout = OutputBlocks(axis, (cut,) if cut else ())
    together, one_by_one = BlockErrors({"y": layout}), BlockErrors({"y": layout})
    together.add("y", x, y, rows=shape[0])
    for row in range(shape[0]):
        one_by_one.add("y", x[row : row + 1], y[row : row + 1], rows=1)
    blocks = blocks_of([x], layout, rows=shape[0])
    assert len(blocks) == (2 if cut else 1)
    assert together.of(blocks) == one_by_one.of(blocks)
    for found in together.of(blocks):
        block = found.block
        part = (
            slice(None) if block.axis is None else (slice(None),) * axis + (slice(block.start, block.stop),)
        )
        a, b = x[part].astype(np.float64), y[part].astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        a, b = a[finite], b[finite]
        assert found.signal == pytest.approx((a**2).sum())
        assert found.noise == pytest.approx(((a - b) ** 2).sum())


def test_arrays_that_grow_and_vanish_along_the_way() -> None:
    errors, finder = BlockErrors({}), BlockFinder({})
    for rows in (0, 3, 7, 5):
        x = np.ones((rows, 4), np.float32)
        finder.add("y", x)
        errors.add("y", x, x * 2)
    (found,) = errors.of(finder.blocks())
    assert (found.signal, found.noise) == (60, 60)
