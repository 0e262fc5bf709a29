"""Constants: the largest magnitude of what depends on no input."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from helpers import toys
from onnx import TensorProto

from onnx_trtcal.graph.constants import constant_amax, largest_magnitude
from onnx_trtcal.graph.model.load import load


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ([1.0, -3.0], 3.0),
        ([], 0.0),
        ([-np.inf, 2.0], 2.0),
        ([np.nan, np.inf], 0.0),
        ([np.nan, -0.5], 0.5),
    ],
)
def test_the_largest_finite_magnitude(values, largest):
    for dtype in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
        assert largest_magnitude(np.array(values, dtype)) == largest


def amax(nodes, wanted, constants, **kwargs):
    model = load(toys.model([*nodes, toys.node("Relu", "x", "y")], {"x": [1]}, ["y"], constants, **kwargs))
    return constant_amax(model, wanted)


def test_only_what_is_asked_for_is_computed():
    nodes = [toys.node("Mul", "k k", "a"), toys.node("Neg", "a", "b"), toys.node("Exp", "b", "c")]
    assert amax(nodes, ["b"], {"k": np.float32([2, -3])}) == {"b": 9.0}
    assert amax(nodes, [], {"k": np.float32([2, -3])}) == {}


def test_bfloat16_constants_count_too():
    cast = toys.node("Cast", "k", "a", to=TensorProto.BFLOAT16)
    assert amax([cast], ["a"], {"k": np.float32([2, -3])}) == {"a": 3.0}


def test_constants_from_external_files(tmp_path):
    nodes = [toys.node("Transpose", "k", "a"), toys.node("MatMul", "x a", "y")]
    proto = toys.model(nodes, {"x": [1, 8]}, ["y"], {"k": np.full((8, 8), -4, np.float32)})
    onnx.save_model(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    assert constant_amax(load(tmp_path / "m.onnx"), ["a"]) == {"a": 4.0}


def test_what_cannot_be_computed_apart_is_left_out():
    assert amax([], ["x"], {}) == {}
