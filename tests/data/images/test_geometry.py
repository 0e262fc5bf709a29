"""Geometry: where a mark in an image comes to lie is where the pixels say that it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnx_trtcal.data.images.geometry import geometry_of
from onnx_trtcal.data.images.load import load_image
from onnx_trtcal.data.images.recipe import make_recipe
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

WANTED = (48, 64)
SPEC = InputSpec("x", np.dtype(np.float32), (1, 3, *WANTED))

FLAGS = [
    {"resize": "stretch"},
    {"resize": "letterbox"},
    {"resize": "shorter", "size": (60, 80)},
    {"crop": WANTED},
]


def recipe(**flags):
    return make_recipe(Preprocess(interpolation="nearest", **flags), SPEC, feeding_of([SPEC]))


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("size", [(96, 128), (200, 90), (77, 160)])
def test_a_mark_lies_where_it_says(tmp_path, flags, size) -> None:
    height, width = size
    pixels = np.full((height, width, 3), 40, np.uint8)
    box = (width // 2 - 12, height // 2 - 10, width // 2 + 16, height // 2 + 12)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    array, geometry = load_image(tmp_path / "a.png", recipe(**flags), "a.png")
    assert geometry is not None
    assert (geometry.original, geometry.size) == (size, WANTED)
    rows, columns = np.nonzero(array[0] > 0.9)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(geometry.points(np.array(box, float)), seen, atol=1.0)


def test_what_a_letterbox_shows() -> None:
    found = geometry_of(recipe(resize="letterbox"), (100, 200))
    assert (found.resized, found.pasted, found.visible) == ((32, 64), (8, 0), (0.0, 8.0, 64.0, 40.0))


@given(
    st.sampled_from(FLAGS), st.integers(60, 300), st.integers(80, 300), st.tuples(*[st.floats(0, 300)] * 4)
)
def test_the_way_back_is_the_inverse(flags, height, width, box) -> None:
    found = geometry_of(recipe(**flags), (height, width))
    np.testing.assert_allclose(found.originals(found.points(np.array(box))), box, atol=1e-9)
