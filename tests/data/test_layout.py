from __future__ import annotations

import numpy as np
import pytest

from onnx_trtcal.data.layout import feeding_of, shape_text
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)


def specs(*shapes):
    return [InputSpec(f"x{index}", FLOAT, shape) for index, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("shapes", "asked", "size"),
    [
        ([("N", 3, 8, 8)], 5, 5),
        ([(None, 3, 8, 8)], 5, 5),
        ([("None", "None")], 5, 5),
        ([(-1, 3, "?", "?")], 5, 5),
        ([(0, 3, 8, 8)], 5, 5),
        ([(0, 3, 8, 8)], None, 8),
        ([(4, 3, 8, 8)], None, 4),
        ([(1, 3, 8, 8)], 5, 1),
        ([(4, 3, 8, 8)], 5, 4),
        ([(1, 3, 8, 8), (1, 3, 16, 16)], 5, 1),
        ([("batch", "seq"), ("batch", "seq")], 5, 5),
        ([("unk_1", 4), ("unk_2", 4)], 5, 5),
        ([("tokens_dim_0", 4)], 5, 5),
        ([("batch_tokens", 4)], 5, 5),
        ([(32, 1024, 3)], 5, 32),
        ([("N", 28, 28)], 5, 5),
        ([("seq_len", 1, 40)], 5, 5),
        ([("S", "batch", 40)], 5, 5),
        ([("n", "n")], 5, 5),
        ([("num_bytes",)], 5, 5),
    ],
)
def test_by_rows(shapes, asked, size):
    assert not feeding_of(specs(*shapes)).verbatim
    assert feeding_of(specs(*shapes)).batch_size(asked) == size


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([("batch", "sequence"), (2, "batch", 128), ()], "scalar"),
        ([("N", 64), (2, "N", 64)], "axis 0 is dynamic in input 'x0' and 2 in 'x1'"),
        ([(1, 64), (100, 4)], "axis 0 is 1 in input 'x0' and 100 in 'x1'"),
        ([("N", 3, 8, 8), (1,)], "axis 0 is dynamic in input 'x0' and 1 in 'x1'"),
        ([(3, 224, 224)], "one image"),
        ([(480, 640, 3)], "one image"),
    ],
)
def test_verbatim(shapes, reason):
    feeding = feeding_of(specs(*shapes))
    assert reason in feeding.verbatim
    assert feeding.batch is None
    assert feeding.batch_size(8) == 1


def test_sample_shape_drops_the_batch_axis_only_by_rows():
    image = InputSpec("x", FLOAT, (1, 3, "H", None))
    assert feeding_of([image]).sample_shape(image) == (3, "H", None)
    scalar = InputSpec("sr", FLOAT, ())
    assert feeding_of([image, scalar]).sample_shape(image) == image.shape


def test_refusals():
    with pytest.raises(OptionError, match="batch_size is 0"):
        feeding_of(specs(("N", 2))).batch_size(0)
    with pytest.raises(DataError, match="no inputs"):
        feeding_of([])


def test_shape_text():
    assert shape_text(("batch", 3, None, -1, 224, "?")) == "(batch, 3, ?, ?, 224, ?)"
    assert shape_text(()) == "()"


PAIR = [InputSpec("x", FLOAT, ("N", 4)), InputSpec("state", FLOAT, (2, "N", 3)), InputSpec("sr", FLOAT, ())]


@pytest.mark.parametrize(
    ("asked", "axes", "batch"),
    [
        (["x=0", "state=1"], {"x": 0, "state": 1, "sr": None}, None),
        (["state=1"], {"x": 0, "state": 1, "sr": None}, None),
        (["1"], {"x": 1, "state": 1, "sr": None}, None),
        (["1", "x=none"], {"x": None, "state": 1, "sr": None}, None),
        (["state=0", "x=none"], {"x": None, "state": 0, "sr": None}, 2),
        (["sr=none", "x=0", "state=none"], {"x": 0, "state": None, "sr": None}, None),
    ],
)
def test_asked_axes(asked, axes, batch):
    inputs = [InputSpec("x", FLOAT, ("M", "N")), *PAIR[1:]] if asked == ["1"] else PAIR
    feeding = feeding_of(inputs, asked)
    assert feeding.axes == axes and feeding.batch == batch
    assert not feeding.open and not feeding.verbatim
    assert feeding.sample_shape(inputs[2]) == ()


def test_an_axis_for_one_input_wins_over_that_for_all_in_any_order():
    for asked in (["none", "x=0", "x=0"], ["x=0", "none"]):
        assert feeding_of(PAIR, asked).axes == {"x": 0, "state": None, "sr": None}


def test_no_axis_at_all_is_verbatim():
    feeding = feeding_of(PAIR, ["none"])
    assert feeding.verbatim == "--item-axis none" and feeding.batch_size(8) == 1
    assert feeding.sample_shape(PAIR[0]) == ("N", 4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["y=0"], "names no input"),
        (["x=two"], "neither the number of an axis nor none"),
        (["x=-1"], "neither the number"),
        (["x"], "neither the number"),
        (["x=2"], "'x' has shape (N, 4), and no axis 2"),
        (["2"], "no axis 2"),
        (["sr=0"], "no axis 0"),
        (["x=0", "state=1", "x=1"], "input 'x' two axes, 0 and 1"),
        (["0", "x=1", "none"], "all inputs two axes, 0 and none"),
        (["x=0"], "the item axes differ in length: 'x' N, 'state' 2"),
    ],
)
def test_axes_that_cannot_be(asked, message):
    with pytest.raises(OptionError) as caught:
        feeding_of(PAIR, asked)
    assert message in caught.value.what


@pytest.mark.parametrize(
    "names", [("batch", "seq"), ("seq_len", "batch"), (None, None), ("n", "n"), ("", "?")]
)
def test_names_mean_nothing(names):
    assert feeding_of(specs((*names, 4))) == feeding_of(specs(("a", "b", 4)))
