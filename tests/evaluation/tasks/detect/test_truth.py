"""Labels of detectors: both forms, mapped into the network's input as the images are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.data.images.geometry import Geometry
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.tasks.detect.truth import by_position, read_truth

if TYPE_CHECKING:
    from pathlib import Path

# A letterbox: an image of 100x200 (height x width) in an input of 64x64, halved by 0.32, 16 below the top.
LETTERBOX = Geometry((100, 200), (32, 64), (64, 64), (16, 0), (0, 0), (64, 64))
INPUT = (64, 64)


def coco(tmp_path, annotations, categories=((1, "cat"), (7, "dog")), size=(100, 200)):
    content = {
        "images": [
            {"id": 5, "file_name": "a.jpg", "height": size[0], "width": size[1]},
            {"id": 6, "file_name": "b.jpg"},
        ],
        "annotations": [
            {"image_id": 5, "category_id": number, "bbox": box, **more} for number, box, more in annotations
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    return read_truth(path)


def yolo(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return read_truth(tmp_path)


def test_coco_boxes_go_where_the_image_goes(tmp_path) -> None:
    truth = coco(tmp_path, [(7, [50, 25, 100, 50], {}), (1, [0, 0, 10, 10], {"iscrowd": 1})])
    found = truth.of("images/a.jpg", 0, LETTERBOX, INPUT)
    np.testing.assert_allclose(found.boxes, [[16, 24, 48, 40], [0, 16, 3.2, 19.2]])
    assert (found.classes.tolist(), found.crowd.tolist()) == ([7, 1], [False, True])
    assert len(truth.of("b.jpg", 1, LETTERBOX, INPUT).boxes) == 0
    with pytest.raises(DataError, match=r"'c\.jpg' has no label"):
        truth.of("c.jpg", 2, LETTERBOX, INPUT)


def test_yolo_boxes_and_polygons_are_shares_of_the_image(tmp_path) -> None:
    truth = yolo(tmp_path, a="1 0.5 0.5 0.5 0.5\n0 0 0 0.25 0 0.25 0.5\n", classes="x y z")
    found = truth.of("a.jpg", 0, LETTERBOX, INPUT)
    np.testing.assert_allclose(found.boxes, [[16, 24, 48, 40], [0, 16, 16, 32]])
    assert found.classes.tolist() == [1, 0]
    # A file that is missing means that the image shows nothing.
    assert len(truth.of("b.jpg", 1, LETTERBOX, INPUT).boxes) == 0
    assert truth.numbers((), 2)[0] == {0: 0, 1: 1}


def test_a_crop_cuts_boxes(tmp_path) -> None:
    crop = Geometry((100, 200), (100, 200), (100, 200), (0, 0), (18, 68), (64, 64))
    truth = coco(tmp_path, [(1, [60, 10, 20, 30], {}), (1, [0, 0, 20, 20], {})])
    np.testing.assert_allclose(truth.of("a.jpg", 0, crop, INPUT).boxes, [[0, 0, 12, 22]])


def test_without_images_labels_are_in_pixels_of_the_input(tmp_path) -> None:
    truth = coco(tmp_path, [(1, [1, 2, 10, 10], {})], size=INPUT)
    np.testing.assert_allclose(truth.of("a.npy", 0, None, INPUT).boxes, [[1, 2, 11, 12]])
    np.testing.assert_allclose(by_position(truth).of("test.npy[0]", 0, None, INPUT).boxes, [[1, 2, 11, 12]])
    other = coco(tmp_path, [(1, [1, 2, 10, 10], {})])
    with pytest.raises(DataError, match=r"image of 100x200.*input is 64x64, and how it was made"):
        other.of("a.npy", 0, None, INPUT)


def test_labels_of_an_image_of_another_size_are_scaled_or_refused(tmp_path) -> None:
    truth = coco(tmp_path, [(1, [100, 50, 200, 100], {})], size=(200, 400))
    np.testing.assert_allclose(truth.of("a.jpg", 0, LETTERBOX, INPUT).boxes, [[16, 24, 48, 40]])
    turned = coco(tmp_path, [(1, [0, 0, 10, 10], {})], size=(200, 100))
    with pytest.raises(DataError, match="are for an image of 200x100"):
        turned.of("a.jpg", 0, LETTERBOX, INPUT)


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (("dog", "cat"), 2, {1: 1, 7: 0}),
        ((), 2, {1: 0, 7: 1}),
        ((), None, {1: 0, 7: 1}),
        ((), 91, {1: 1, 7: 7}),
        ((), 7, {1: 0, 7: 6}),
        (("bird", "cat"), 2, {1: 0, 7: 1}),
    ],
)
def test_categories_become_the_model_s_numbers(tmp_path, names, classes, expected) -> None:
    truth = coco(tmp_path, [(1, [0, 0, 10, 10], {})])
    assert truth.numbers(names, classes)[0] == expected


def test_final_detections_may_use_the_ids(tmp_path) -> None:
    truth = coco(tmp_path, [(1, [0, 0, 10, 10], {})])
    assert truth.numbers((), None, seen=1)[0] == {1: 0, 7: 1}
    assert truth.numbers((), None, seen=2)[0] == {1: 1, 7: 7}


def test_yolo_numbers_that_the_model_has_not(tmp_path) -> None:
    truth = yolo(tmp_path, a="2 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match="the labels have class 2, and the model tells 2 apart"):
        truth.numbers((), 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 0.5 0.5 0.5", "does not read"),
        ("cat 0.5 0.5 0.1 0.1", "does not read"),
        (f"{2**63} 0.5 0.5 0.1 0.1", "the boxes cannot be read"),
        ("1 50 50 10 10", "reach 55"),
    ],
)
def test_yolo_lines_that_mean_nothing(tmp_path, text, said) -> None:
    with pytest.raises(DataError, match=said):
        yolo(tmp_path, a=text)


def test_files_that_hold_no_boxes(tmp_path) -> None:
    (tmp_path / "labels.csv").write_text("a,1")
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("labels.csv", "does not hold boxes"),
        ("bad.json", "COCO"),
        ("empty", "no text files"),
    ):
        with pytest.raises(DataError, match=said):
            read_truth(tmp_path / name)


@pytest.mark.parametrize("number", ["1e999", "NaN", '"x"', "[]", "null"])
def test_a_category_that_is_no_number_is_refused(number: str, tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text(f'{{"images": [], "annotations": [], "categories": [{{"id": {number}, "name": "a"}}]}}')
    with pytest.raises(DataError, match="does not hold COCO annotations"):
        read_truth(path)
