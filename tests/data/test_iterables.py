from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

VECTOR = (InputSpec("x", np.dtype(np.float32), ("N", 2)),)
PAIR = (*VECTOR, InputSpec("y", np.dtype(np.float32), ("N", 1)))
ROWS = [np.array([index, -index], np.float32) for index in range(4)]


class Tensor:
    """What a PyTorch CPU tensor is to NumPy."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape

    def __array__(self, dtype=None, copy=None):
        return self._array


class Dataset:
    """A map-style data set: no iterator, only a length and indices."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        return ROWS[index]


def values(source):
    return [sample.arrays["x"].tolist() for sample in source]


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (ROWS, 4),
        (tuple(ROWS), 4),
        (np.array(ROWS), 4),
        ({"x": np.array(ROWS)}, 4),
        ([{"x": row, "label": 3} for row in ROWS], 4),
        ([np.array(ROWS[:3]), ROWS[3]], 4),
        (Tensor(np.array(ROWS)), 4),
        ([Tensor(row) for row in ROWS], 4),
        ([row.tolist() for row in ROWS], 4),
        (Dataset(), None),
        (lambda: iter(ROWS), None),
        (dict(enumerate(ROWS)).values(), None),
    ],
)
def test_kinds_that_can_be_gone_through_twice(data, count):
    source = open_source(data, VECTOR)
    assert source.count == count
    wanted = [row.tolist() for row in ROWS]
    assert values(source) == wanted
    assert values(source) == wanted


def test_names():
    mixed = [ROWS[0], np.array(ROWS[1:3])]
    assert [sample.name for sample in open_source(mixed, VECTOR)] == ["item 0", "item 1[0]", "item 1[1]"]


def test_a_generator_gives_one_pass():
    source = open_source((row for row in ROWS), VECTOR)
    assert source.count is None
    assert len(values(source)) == 4
    with pytest.raises(DataError, match="generator, which was consumed") as caught:
        values(source)
    assert "pass a list" in caught.value.fix
    assert "function" in caught.value.fix


@pytest.mark.parametrize("data", [[], iter([]), list])
def test_no_samples(data):
    with pytest.raises(DataError, match="holds no samples") as caught:
        values(open_source(data, VECTOR))
    assert "generator" in caught.value.fix


def test_a_buffer_that_its_producer_reuses_is_read_ahead_safely():
    def reuse():
        buffer = np.empty((2, 2), np.float32)
        for index in range(40):
            buffer[:] = index
            yield {"x": buffer}

    fed = np.concatenate([batch.feeds["x"] for batch in batches(open_source(reuse(), VECTOR), 3)])
    np.testing.assert_array_equal(fed[:, 0], np.repeat(np.arange(40), 2))


def test_what_the_users_generator_raises_is_not_dressed_up():
    def broken():
        yield ROWS[0]
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        list(batches(open_source(broken(), VECTOR), 1))


def test_paths_as_elements(tmp_path):
    for name, grey in (("a.png", 255), ("b.png", 127)):
        Image.fromarray(np.full((4, 4, 3), grey, np.uint8)).save(tmp_path / name)
    inputs = (InputSpec("x", np.dtype(np.float32), (1, 3, 4, 4)),)
    source = open_source([tmp_path / "a.png", str(tmp_path / "b.png")], inputs, Preprocess(scale=1))
    assert [sample.arrays["x"].max() for sample in source] == [255, 127]
    assert source.description[-1] == "images: RGB, no resize, *1, NCHW"


@pytest.mark.parametrize(
    ("data", "inputs", "reason"),
    [
        ([(3, ROWS[0])], VECTOR, "a tuple of 2 was given, the model has 1 input: 'x'"),
        ([(ROWS[0], ROWS[1])], VECTOR, "more than 1 could be the model's input 'x'"),
        ([ROWS[0]], PAIR, "a ndarray was given, the model has 2 inputs: 'x', 'y'"),
        ([{"x": ROWS[0]}], PAIR, "no key for the model's input 'y': found 'x'"),
        ([object()], VECTOR, "is not a numeric array"),
        ([None], VECTOR, "is not a numeric array"),
        ([[1, [2, 3]]], VECTOR, "is not an array"),
        (lambda: 3, VECTOR, "returned an int"),
        (lambda: np.ones(2), VECTOR, "returned a ndarray"),
        (7, VECTOR, "of type int"),
        (b"12", VECTOR, "of type bytes"),
    ],
)
def test_unusable_data_is_named(data, inputs, reason):
    with pytest.raises(DataError, match=reason) as caught:
        list(open_source(data, inputs))
    assert caught.value.fix


def test_max_samples():
    assert values(open_source(np.array(ROWS), VECTOR, max_samples=3)) == [row.tolist() for row in ROWS[:3]]
    assert open_source(np.array(ROWS), VECTOR, max_samples=3).count == 3
    assert open_source(np.array(ROWS), VECTOR, max_samples=9).count == 4
    with pytest.raises(OptionError, match="max_samples is 0"):
        open_source(ROWS, VECTOR, max_samples=0)


def test_an_endless_generator_is_cut():
    def endless():
        while True:
            yield ROWS[1]

    assert len(values(open_source(endless(), VECTOR, max_samples=5))) == 5
