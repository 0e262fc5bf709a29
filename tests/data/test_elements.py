"""Elements of Python data as frameworks give them."""

from __future__ import annotations

import io
from collections import UserDict
from typing import NamedTuple

import numpy as np
import pytest
from helpers.small import RecordingListener
from PIL import Image

from onnx_trtcal.data.arrays import to_array
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.data.transform import transformed
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

FLOAT = np.dtype(np.float32)
VECTOR = (InputSpec("x", FLOAT, ("N", 2)),)
PAIR = (*VECTOR, InputSpec("y", FLOAT, ("N", 3)))
IMAGE = (InputSpec("pixels", FLOAT, ("N", 3, 4, 4)),)
ROW = np.array([1, -2], np.float32)
OTHER = np.array([3, 4, 5], np.float32)
RED = Image.fromarray(np.full((4, 4, 3), (255, 0, 51), np.uint8))


class TorchTensor:
    """What a PyTorch tensor that needs its gradient, or lies on a GPU, is to NumPy."""

    def __init__(self, array, grad=False, gpu=False):
        self.array, self.grad, self.gpu = array, grad, gpu
        self.shape = array.shape
        self.dtype = "torch.float32"

    def detach(self):
        return TorchTensor(self.array, False, self.gpu)

    def cpu(self):
        return TorchTensor(self.array, self.grad, False)

    def __array__(self, dtype=None, copy=None):
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.gpu:
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")
        return self.array


class Bfloat16(TorchTensor):
    def __init__(self, array):
        super().__init__(array)
        self.dtype = "torch.bfloat16"

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")

    detach = cpu = lambda self: self

    def float(self):
        return TorchTensor(self.array)


class CupyArray:
    __cuda_array_interface__ = ()
    shape = (2,)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self):
        return ROW


class Pair(NamedTuple):
    label: int
    y: np.ndarray
    x: np.ndarray


def fed(data, inputs, preprocess=Preprocess(), **options):
    listener = RecordingListener()
    samples = list(open_source(data, inputs, preprocess, listener=listener, **options))
    return [
        {name: array.tolist() for name, array in sample.arrays.items()} for sample in samples
    ], listener.said


@pytest.mark.parametrize(
    "tensor", [TorchTensor(ROW, grad=True), TorchTensor(ROW, grad=True, gpu=True), Bfloat16(ROW), CupyArray()]
)
def test_tensors_that_numpy_does_not_read_by_itself(tensor):
    assert fed([tensor], VECTOR) == ([{"x": [1, -2]}], [])
    assert fed([(tensor, 3)], VECTOR)[0] == [{"x": [1, -2]}]
    np.testing.assert_array_equal(to_array(tensor, "here"), ROW)


def test_pytorch_itself():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.ones(5, 2, requires_grad=True), torch.zeros(5))
    for each in (data, torch.utils.data.DataLoader(data, 2)):
        samples, said = fed(each, VECTOR)
        assert samples == [{"x": [1, 1]}] * 5 and len(said) == 1


def test_what_is_not_an_input_is_dropped_and_said_once():
    batches = [(np.stack([ROW, ROW]), np.array([0, 1]), ["a", "b"])] * 3
    samples, said = fed(batches, VECTOR)
    assert samples == [{"x": [1, -2]}] * 6
    assert said == ["each element is a tuple of 3: the first is fed, and the rest (ndarray, list) is dropped"]
    samples, said = fed([[ROW, OTHER, 7]] * 2, PAIR)
    assert samples == [{"x": [1, -2], "y": [3, 4, 5]}] * 2
    assert said == ["each element is a list of 3: the first 2 are fed, and the rest (int) is dropped"]
    samples, said = fed([{"x": ROW, "label": 1, "id": "q"}] * 2, VECTOR)
    assert said == ["not inputs of the model, and dropped: 'label', 'id'"]
    assert fed([({"x": ROW}, 3)], VECTOR)[0] == [{"x": [1, -2]}]
    assert fed([UserDict(x=ROW, y=OTHER)], PAIR)[0] == [{"x": [1, -2], "y": [3, 4, 5]}]


def test_named_tuples_feed_by_name():
    assert fed([Pair(3, OTHER, ROW)], PAIR)[0] == [{"x": [1, -2], "y": [3, 4, 5]}]


@pytest.mark.parametrize(
    ("element", "inputs", "what"),
    [
        ((ROW, ROW), VECTOR, r"more than 1 could be the model's input 'x': they have the same shape \(2,\)"),
        ((3, ROW), VECTOR, "a tuple of 2 was given, the model has 1 input"),
        ((ROW,), PAIR, "a tuple of 1 was given, the model has 2 inputs: 'x', 'y'"),
        ({"pixel": ROW, "label": 3}, VECTOR, "no key for the model's input 'x': found 'label', 'pixel'"),
        ({"a": RED, "b": RED}, IMAGE, "no key for the model's input 'pixels'"),
    ],
)
def test_what_cannot_be_told_is_refused(element, inputs, what):
    with pytest.raises(DataError, match=what) as caught:
        fed([element], inputs)
    assert caught.value.where == "item 0" and caught.value.fix


def test_pil_images_are_preprocessed_as_files_are(tmp_path):
    RED.save(tmp_path / "red.png")
    recipe = Preprocess(resize="stretch", mean=(0.5,), color="bgr")
    wanted, _ = fed(tmp_path / "red.png", IMAGE, recipe)
    coded = io.BytesIO()
    RED.save(coded, "PNG")
    row = {"image": {"bytes": coded.getvalue(), "path": None}, "label": 1}
    for element in (RED, (RED, 1), {"pixels": RED}, {"image": RED, "label": 1}, row, RED.convert("RGBA")):
        samples, said = fed([element] * 2, IMAGE, recipe)
        assert samples == wanted * 2
        assert said[-1] == "images: BGR, stretched to 4x4 (bilinear), *1/255, -1/2, NCHW"
    assert fed([row], IMAGE)[1][0] == "'image' of each element feeds the input 'pixels'"


def test_uint8_arrays_for_a_float_input_are_hinted_at_once(tmp_path):
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.full(2, 255, np.uint8))
    for data in (tmp_path, [np.full(2, 255, np.uint8)] * 2):
        samples, said = fed(data, VECTOR)
        assert samples == [{"x": [255, 255]}] * 2
        assert len(said) == 1 and said[0].startswith(
            "uint8 arrays feed the float input 'x' as they are, 0 to 255"
        )
    assert fed([np.full(2, 255, np.uint8)], (InputSpec("x", np.dtype(np.uint8), ("N", 2)),))[1] == []


def test_a_transform_gets_each_element_whole():
    def second(element):
        return element[1]

    data = [("a", ROW), ("b", 2 * ROW)]
    for form in (data, lambda: iter(data), iter(data)):
        assert fed(transformed(form, second), VECTOR)[0] == [{"x": [1, -2]}, {"x": [2, -4]}]
    assert transformed(data, None) is data


def test_a_transform_gets_the_images_of_a_path(tmp_path):
    RED.convert("P").save(tmp_path / "1.png")
    sizes = []

    def prepare(image):
        sizes.append((image.mode, image.size))
        return TorchTensor(np.asarray(image, np.float32).transpose(2, 0, 1)[None] * 2, grad=True)

    source = open_source(transformed(tmp_path, prepare), IMAGE)
    (sample,) = source
    assert sample.arrays["pixels"][:, 0, 0].tolist() == [510, 0, 102]
    assert sizes == [("RGB", (4, 4))] and source.description[-1] == "images: the transform 'prepare'"
    np.save(tmp_path / "a.npy", ROW)
    with pytest.raises(OptionError, match="files that are not images"):
        open_source(transformed(tmp_path / "a.npy", prepare), VECTOR)
