from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)
IMAGE = (InputSpec("image", FLOAT, ("N", 3, 8, 10)),)
SILERO = (
    InputSpec("input", FLOAT, ("batch", "sequence")),
    InputSpec("state", FLOAT, (2, "batch", 4)),
    InputSpec("sr", np.dtype(np.int64), ()),
)


def shapes(data, inputs):
    return [
        {name: array.shape for name, array in sample.arrays.items()} for sample in open_source(data, inputs)
    ]


def failure(data, inputs):
    with pytest.raises(DataError) as caught:
        list(open_source(data, inputs))
    return caught.value


@pytest.mark.parametrize(
    ("shape", "count"),
    [((3, 8, 10), 1), ((1, 3, 8, 10), 1), ((5, 3, 8, 10), 5), ((5, 1, 3, 8, 10), 5), ((2, 3, 3, 8, 10), 6)],
)
@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_one_sample_a_stack_or_a_stack_of_stacks(tmp_path, shape, count, batch):
    inputs = (InputSpec("image", FLOAT, (batch, 3, 8, 10)),)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    for data in (array, [array], tmp_path / "a.npy"):
        source = open_source(data, inputs)
        samples = list(source)
        assert source.count == len(samples) == count
        got = np.array([sample.arrays["image"] for sample in samples])
        np.testing.assert_array_equal(got, array.reshape(-1, 3, 8, 10))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((8, 10, 3), "HWC, the model wants CHW: save array.transpose(2, 0, 1)"),
        ((7, 8, 10, 3), "HWC, the model wants CHW: save array.transpose(0, 3, 1, 2)"),
        ((240,), "array.reshape(3, 8, 10)"),
        ((7, 240), "array.reshape(7, 3, 8, 10)"),
        ((3, 8, 11), "of the shape that the model wants"),
    ],
)
def test_a_wrong_shape_is_named_and_the_usual_mistakes_recognised(tmp_path, shape, hint):
    np.save(tmp_path / "bad.npy", np.zeros(shape, np.float32))
    error = failure(tmp_path, IMAGE)
    assert f"the array has shape {shape}".replace(",)", ")") in error.what
    assert "the model's input 'image' wants (3, 8, 10) per sample" in error.what
    assert error.where == str(tmp_path / "bad.npy")
    assert hint in error.fix


def test_other_hints():
    gray = (InputSpec("x", FLOAT, ("N", 1, 28, 28)),)
    assert "numpy.expand_dims(array, 1)" in failure(np.zeros((9, 28, 28), np.float32), gray).fix
    last = (InputSpec("x", FLOAT, ("N", 8, 10, 3)),)
    assert (
        "CHW, the model wants HWC: save array.transpose(1, 2, 0)" in failure([np.zeros((3, 8, 10))], last).fix
    )


def test_the_shape_is_checked_before_a_big_stack_is_read(tmp_path):
    np.save(tmp_path / "bad.npy", np.zeros((100, 3, 8, 11), np.float32))
    with pytest.raises(DataError, match="wants"):
        _ = open_source(tmp_path, IMAGE).count


def test_element_types_are_cast_or_refused_by_name():
    (sample,) = open_source([np.full((3, 8, 10), 7, np.uint8)], IMAGE)
    assert sample.arrays["image"].dtype == np.float32
    integer = (InputSpec("ids", np.dtype(np.int64), ("N", 4)),)
    error = failure([np.zeros(4, np.int64), np.zeros(4)], integer)
    assert "float64, the model wants int64" in error.what
    assert error.where == "item 1"


def test_nan_is_let_through():
    (sample,) = open_source([np.full((3, 8, 10), np.nan)], IMAGE)
    assert np.isnan(sample.arrays["image"]).all()


def test_inputs_with_different_counts():
    pair = (InputSpec("a", FLOAT, ("N", 2)), InputSpec("b", FLOAT, ("N", 3)))
    error = failure({"a": np.zeros((4, 2)), "b": np.zeros((5, 3))}, pair)
    assert "'a' holds 4, 'b' holds 5" in error.what
    error = failure({"a": np.zeros((4, 2)), "b": np.zeros(3)}, pair)
    assert "'a' holds 4, 'b' holds one" in error.what
    assert shapes({"a": np.zeros((1, 2)), "b": np.zeros(3)}, pair) == [{"a": (2,), "b": (3,)}]


def test_an_empty_stack():
    assert "holds no samples" in failure(np.zeros((0, 3, 8, 10)), IMAGE).what


def test_verbatim_feeds_stay_as_they_are():
    feed = {"input": np.zeros((6, 512)), "state": np.zeros((2, 6, 4)), "sr": np.int64(16000)}
    wanted = {"input": (6, 512), "state": (2, 6, 4), "sr": ()}
    assert shapes([feed, feed], SILERO) == [wanted, wanted]
    source = open_source([feed], SILERO)
    assert "one file or item is one feed, exactly as given (input 'sr' is a scalar)" in source.description[-1]


def test_verbatim_feeds_get_a_missing_leading_axis_and_may_be_stacked():
    one = {"input": np.zeros(512), "state": np.zeros((2, 1, 4)), "sr": np.array([16000])}
    wanted = {"input": (1, 512), "state": (2, 1, 4), "sr": ()}
    assert shapes(one, SILERO) == [wanted]
    stack = {"input": np.zeros((3, 1, 512)), "state": np.zeros((3, 2, 1, 4)), "sr": np.int64(16000)}
    assert shapes(stack, SILERO) == [wanted] * 3
    assert [sample.name for sample in open_source(stack, SILERO)] == ["data[0]", "data[1]", "data[2]"]


def test_a_wrong_verbatim_feed_says_why_it_is_verbatim():
    feed = {"input": np.zeros((1, 512)), "state": np.zeros((1, 4)), "sr": np.int64(16000)}
    error = failure(feed, SILERO)
    assert "'state' wants (2, batch, 4) (fed as given, because input 'sr' is a scalar)" in error.what
    assert error.where == "data, input 'state'"


def test_no_length_is_a_legal_dynamic_length():
    cache = (InputSpec("past", FLOAT, ("batch", 2, "length", 4)),)
    assert shapes([np.zeros((2, 0, 4))], cache) == [{"past": (2, 0, 4)}]


def test_an_input_of_unknown_rank_takes_what_is_given():
    inputs = (InputSpec("x", FLOAT, (), ranked=False), InputSpec("n", FLOAT, ()))
    data = [{"x": np.zeros((1, 3, 4)), "n": 1.0}, {"x": np.zeros(7), "n": 2.0}]
    assert shapes(data, inputs) == [{"x": (1, 3, 4), "n": ()}, {"x": (7,), "n": ()}]
    assert "shape of input 'x'" in open_source(data, inputs).description[-1]


def test_an_image_can_be_shared_by_the_rows_of_a_stack(tmp_path):
    specs = [
        InputSpec("image", np.dtype(np.float32), ("n", 3, 8, 8)),
        InputSpec("box", np.dtype(np.float32), ("n", 4)),
    ]
    rows = np.arange(20, dtype=np.float32).reshape(5, 4)
    for folder in ("image", "box"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "image/a.png")
    np.save(tmp_path / "box/a.npy", rows)
    source = open_source(tmp_path, specs, item_axis=("image=none",))
    samples = list(source)
    assert source.count == len(samples) == 5
    assert [sample.arrays["box"].tolist() for sample in samples] == rows.tolist()
    assert all(sample.arrays["image"].mean() == pytest.approx(1 / 3) for sample in samples)
    assert all("image" in sample.geometry for sample in samples)
