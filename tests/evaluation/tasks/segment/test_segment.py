"""Segmentation: classes of pixels read from outputs, compared between models and with masks."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.detectors import constant_model
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onnx_trtcal import EvaluationOptions, Options, Preprocess, evaluate
from onnx_trtcal.data.images.geometry import Geometry
from onnx_trtcal.errors import DataError, OptionError
from onnx_trtcal.evaluation.tasks.segment.class_maps import find_maps
from onnx_trtcal.evaluation.tasks.segment.masks import IGNORED, read_masks
from onnx_trtcal.evaluation.tasks.segment.segment import Confusion

SIZE = (6, 8)
RANDOM = np.random.default_rng(11)
CLASSES = RANDOM.integers(0, 3, SIZE)
ONE_HOT = (np.arange(3)[:, None, None] == CLASSES).astype(np.float32) * 4 - 1
CPU = Options(provider="cpu")
DATA = RANDOM.random((2, 3, *SIZE)).astype(np.float32)


@pytest.mark.parametrize(
    ("output", "kind", "expected"),
    [
        (ONE_HOT, "channels first", CLASSES),
        (ONE_HOT.transpose(1, 2, 0), "channels last", CLASSES),
        (ONE_HOT[None], "channels first", CLASSES),
        (CLASSES, "classes", CLASSES),
        (CLASSES.astype(np.float32)[None], "classes", CLASSES),
        ((CLASSES > 0).astype(np.float32)[None] * 0.8, "probability", CLASSES > 0),
        ((CLASSES > 0).astype(np.float32)[None] * 8 - 3, "logit", CLASSES > 0),
    ],
)
def test_outputs_that_classify_pixels(output, kind, expected) -> None:
    reader = find_maps({"y": output}, SIZE)
    assert reader.kind == kind
    np.testing.assert_array_equal(reader.read({"y": output}), expected)


def test_outputs_that_do_not() -> None:
    with pytest.raises(OptionError, match=r"no output classifies pixels.*'y' 10, 'z' 100x4"):
        find_maps({"y": np.ones(10, np.float32), "z": np.ones((100, 4), np.float32)}, SIZE)
    two = {"small": ONE_HOT[:, ::2, ::2], "large": ONE_HOT}
    assert [find_maps(two, SIZE, name).output for name in ("", "large")] == ["small", "large"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40), st.integers(1, 4))
def test_overlap_is_that_of_sets_of_pixels(pairs, parts) -> None:
    one, other = np.array(pairs).T
    found = Confusion()
    for at in range(parts):
        found.add(one[at::parts], other[at::parts])
    ious = [
        ((one == label) & (other == label)).sum() / ((one == label) | (other == label)).sum()
        for label in range(5)
        if ((one == label) | (other == label)).any()
    ]
    assert found.mean_iou == pytest.approx(np.mean(ious))
    assert found.agreement == pytest.approx((one == other).mean())
    assert found.pixels == len(pairs)


def changed(count: int) -> np.ndarray:
    """The scores with the first pixels of class 0 given to class 1."""
    made = ONE_HOT.copy()
    rows, columns = np.nonzero(CLASSES == 0)
    made[:, rows[:count], columns[:count]] = np.array([-1, 3, -1], np.float32)[:, None]
    return made


def compared(int8: np.ndarray, data=DATA, **fields):
    quantized = constant_model({"y": int8[None]}, SIZE)
    request = EvaluationOptions(quantized=quantized, task="segment", **{"options": CPU, **fields})
    return evaluate(constant_model({"y": ONE_HOT[None]}, SIZE), data, request)


def test_agreement_and_mean_iou_of_both_models() -> None:
    found = compared(changed(2))
    zeros, ones = (CLASSES == 0).sum(), (CLASSES == 1).sum()
    assert found.agreement == pytest.approx(1 - 2 / CLASSES.size)
    expected = ((zeros - 2) / zeros + ones / (ones + 2) + 1) / 3
    assert found.segmentation.mean_iou == pytest.approx(expected)
    assert (found.segmentation.classes, found.segmentation.pixels) == (3, 2 * CLASSES.size)
    assert (found.task, found.target.name) == ("segment", "agreement")


def test_masks_give_miou_of_both(tmp_path) -> None:
    for number in range(2):
        mask = CLASSES.astype(np.uint8)
        mask[0, 0] = IGNORED
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    found = compared(changed(3), labels=tmp_path)
    merit = found.scores["mIoU"]
    assert merit.fp32 == pytest.approx(1.0)
    assert 0 < merit.int8 < 1
    assert found.target.name == "mIoU"


def test_masks_of_images_are_mapped_as_the_images_are(tmp_path) -> None:
    """A wide image in a letterbox: above and below it, nothing counts."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (16, 8)).save(tmp_path / "images" / "a.jpg")
    inner = CLASSES[1:5]
    doubled = np.repeat(np.repeat(inner, 2, axis=0), 2, axis=1)
    Image.fromarray(doubled.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    options = Options(provider="cpu", preprocess=Preprocess(preset="yolo"))
    found = compared(ONE_HOT, str(tmp_path / "images"), labels=tmp_path / "masks", options=options)
    assert found.scores["mIoU"].fp32 == pytest.approx(1.0)
    mask = read_masks(tmp_path / "masks").of(
        "a.jpg", 0, Geometry((8, 16), (4, 8), SIZE, (1, 0), (0, 0), SIZE), SIZE
    )
    np.testing.assert_array_equal(mask[1:5], inner)
    assert (mask[[0, 5]] == IGNORED).all()


def test_masks_that_mean_nothing(tmp_path) -> None:
    with pytest.raises(DataError, match="no label masks"):
        read_masks(tmp_path)
    Image.new("RGB", (8, 6)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match="RGB pixels, not one class number each"):
        compared(ONE_HOT, labels=tmp_path)
    for number in range(2):
        Image.fromarray(np.full(SIZE, 7, np.uint8)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"has class 7, and the output 'y' tells 3 apart"):
        compared(ONE_HOT, labels=tmp_path)
