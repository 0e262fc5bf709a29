"""Heads told by shapes, names and values, and detections worked out by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.detectors import CELLS, SIZE, cell_boxes, yolov8, yolox

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.tasks.detect.choose import choose_head, looks_like_detector
from onnx_trtcal.evaluation.tasks.detect.grid import grid_of
from onnx_trtcal.evaluation.tasks.detect.head import Head, Scene

if TYPE_CHECKING:
    from onnx_trtcal.evaluation.tasks.detect.boxes import Detections

SCENE = Scene(SIZE)
RANDOM = np.random.default_rng(7)


def found(sample: dict[str, np.ndarray], scene: Scene = SCENE, head: str = "") -> tuple[Head, Detections]:
    chosen = choose_head(sample, scene, head)
    assert chosen is not None
    return chosen, chosen.decode(sample, scene.size).above(0.25)


def as_list(detections: Detections) -> list[tuple[list[float], float, int]]:
    rows = zip(detections.boxes, detections.scores, detections.classes, strict=True)
    return [
        ([round(float(side), 3) for side in box], round(float(score), 3), int(label))
        for box, score, label in rows
    ]


@pytest.mark.parametrize("transposed", [False, True])
def test_yolov8(transposed: bool) -> None:
    output = yolov8((3, 10, 12, 8, 4, 1, 0.9), (20, 16, 16, 30, 20, 0, 0.5))[0]
    head, detections = found({"y": output.T if transposed else output}, head="yolov8" if transposed else "")
    assert head.name == "yolov8"
    assert head.classes == 2
    assert as_list(detections) == [([6, 10, 14, 14], 0.9, 1), ([1, 6, 31, 26], 0.5, 0)]
    assert "21 boxes, the cells of strides 8, 16, 32" in head.reason


def test_yolox_without_its_grid() -> None:
    # Row 5 is column 1, row 1 of stride 8; row 18 is column 0, row 1 of stride 16.
    output = yolox(
        (5, 0.5, -0.25, math.log(2), math.log(0.5), 0.8, 1, 0.5),
        (18, 1.0, 0.0, 0.0, math.log(1.5), 0.9, 0, 1.0),
    )
    head, detections = found({"y": output[0]})
    assert head.name == "yolox"
    # centre (1.5 * 8, 0.75 * 8), size (16, 4); centre (16, 16), size (16, 24)
    assert as_list(detections) == [([4, 4, 20, 8], 0.4, 1), ([8, 4, 24, 28], 0.9, 0)]


def test_yolox_with_logits() -> None:
    output = yolox((0, 0, 0, 0, 0, 3.0, 1, 2.0))[0]
    output[:, 4:] = np.where(output[:, 4:] == np.float32(0.01), -6, output[:, 4:])
    head, detections = found({"y": output})
    assert head.name == "yolox"
    assert "logits" in head.reason
    score = 1 / (1 + math.exp(-3)) / (1 + math.exp(-2))
    assert as_list(detections) == [([-4, -4, 4, 4], round(score, 3), 1)]


@pytest.mark.parametrize("anchors", [1, 3])
def test_decoded_boxes_with_objectness(anchors: int) -> None:
    output = np.full((CELLS * anchors, 7), 0.01, np.float32)
    output[:, :4] = np.tile(cell_boxes(), (anchors, 1))
    output[4] = 10, 12, 8, 4, 0.8, 0.1, 0.75
    head, detections = found({"y": output})
    assert head.name == "yolov5"
    assert as_list(detections) == [([6, 10, 14, 14], 0.6, 1)]


@pytest.mark.parametrize("by_anchor", [False, True])
def test_decoded_boxes_of_several_anchors_in_shares(by_anchor: bool) -> None:
    levels = np.split(cell_boxes() / 32, [16, 20])
    rows = [np.tile(each, (3, 1)) if by_anchor else np.repeat(each, 3, axis=0) for each in levels]
    output = np.full((3 * CELLS, 7), 0.01, np.float32)
    output[:, :4] = np.concatenate(rows)
    assert found({"y": output})[0].name == "yolov5"


def test_the_same_shape_is_told_apart_by_its_values() -> None:
    raw = yolox()[0]
    decoded = raw.copy()
    decoded[:, :4] = cell_boxes()
    assert [found({"y": each})[0].name for each in (raw, decoded)] == ["yolox", "yolov5"]


@pytest.mark.parametrize("logits", [False, True])
def test_yolov5_without_its_grid_and_anchors(logits: bool) -> None:
    shares = np.clip(RANDOM.normal(0.5, 0.1, (3 * CELLS, 7)), 0.2, 0.8)
    shares[:, 4] = 0.01
    # Row 16 + 5 is the second anchor of stride 8, column 1, row 1; it is 16x30.
    shares[16 + 5] = 0.75, 0.25, 0.5, 0.25, 0.9, 0.1, 0.8
    # Row 48 + 2 * 4 + 3 is the third anchor of stride 16, column 1, row 1; it is 59x119.
    shares[48 + 11] = 0.5, 0.5, 0.25, 0.5, 0.8, 1 - 1e-9, 0.1
    output = np.log(shares / (1 - shares)) if logits else shares
    head, detections = found({"y": output.astype(np.float32)})
    assert head.name == "yolov5-raw"
    first, second = as_list(detections)
    # centre ((1.5 - 0.5 + 1) * 8, (0.5 - 0.5 + 1) * 8), size (16, 7.5); centre (24, 24), size (14.75, 119)
    assert first == ([8, 4.25, 24, 11.75], 0.72, 1)
    assert second == ([16.625, -35.5, 31.375, 83.5], 0.8, 0)


def test_boxes_in_shares_of_the_image() -> None:
    output = yolov8((3, 10, 12, 8, 4, 1, 0.9))[0]
    output[:4] /= 32
    head, detections = found({"y": output})
    assert head.name == "yolov8"
    assert as_list(detections) == [([6, 10, 14, 14], 0.9, 1)]


@pytest.mark.parametrize(("names", "name", "classes"), [(["a", "b"], "yolov8", 2), (["a"], "yolov5", 1)])
def test_the_names_of_classes_say_whether_there_is_objectness(names, name, classes) -> None:
    head, _ = found({"y": yolov8((3, 10, 12, 8, 4, 1, 0.9))[0]}, Scene(SIZE, names))
    assert (head.name, head.classes) == (name, classes)


def test_key_points_and_mask_coefficients_are_not_classes() -> None:
    output = np.concatenate([yolov8((3, 10, 12, 8, 4, 1, 0.9))[0], np.full((6, CELLS), 20, np.float32)])
    head, detections = found({"y": output}, Scene(SIZE, ["a", "b"], ultralytics=True))
    assert (head.classes, as_list(detections)) == (2, [([6, 10, 14, 14], 0.9, 1)])
    masks = np.concatenate([yolov8((3, 10, 12, 8, 4, 1, 0.9))[0], RANDOM.normal(0, 1, (32, CELLS))])
    sample = {"y": masks.astype(np.float32), "proto": np.zeros((32, 16, 16), np.float32)}
    head, detections = found(sample)
    assert (head.classes, as_list(detections)) == (2, [([6, 10, 14, 14], 0.9, 1)])


@pytest.mark.parametrize("scene", [Scene(SIZE, ["a", "b"], ultralytics=True), Scene(SIZE, ["a", "b"])])
def test_yolov8_before_its_decoding_is_not_taken_for_yolox(scene) -> None:
    bins = RANDOM.normal(0, 1, (64 + 2, CELLS)).astype(np.float32)
    with pytest.raises(OptionError, match="cannot tell how"):
        choose_head({"y": bins}, scene)


CORNERS = np.array([[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 0.5], [0.5, 0.5, 0.75, 1]], np.float32)


def test_a_pair_whose_scores_add_up_to_one_has_a_background() -> None:
    scores = np.array([[0.1, 0.2, 0.7], [0.9, 0.05, 0.05], [0.5, 0.4, 0.1]], np.float32)
    head, detections = found({"scores": scores, "boxes": CORNERS})
    assert (head.name, head.classes) == ("ssd", 2)
    assert as_list(detections) == [([8, 8, 16, 16], 0.7, 1), ([16, 16, 24, 32], 0.4, 0)]


def test_a_pair_without_a_background() -> None:
    scores = np.array([[0.1, 0.7], [0.05, 0.05], [0.4, 0.1]], np.float32)
    head, detections = found({"scores": scores.T, "boxes": CORNERS * 32})
    assert head.name == "ssd-no-background"
    assert as_list(detections) == [([8, 8, 16, 16], 0.7, 1), ([16, 16, 24, 32], 0.4, 0)]


def test_detr_s_background_is_the_last() -> None:
    centers = np.array([[0.5, 0.5, 0.25, 0.5], [0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.5, 1]], np.float32)
    logits = np.log(np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.05, 0.05, 0.9]], np.float32)) + 3
    head, detections = found({"logits": logits, "pred_boxes": centers})
    assert head.name == "detr"
    assert as_list(detections) == [([12, 8, 20, 24], 0.8, 1)]


def test_logits_without_a_background_go_through_a_sigmoid() -> None:
    logits = np.array([[-5, 2], [-6, -6], [-4, -7]], np.float32)
    head, detections = found({"logits": logits, "boxes": CORNERS})
    assert head.name == "ssd-no-background"
    assert as_list(detections) == [([8, 8, 16, 16], round(1 / (1 + math.exp(-2)), 3), 1)]


def test_a_pair_s_offsets_from_unknown_priors_are_no_boxes() -> None:
    offsets = RANDOM.normal(0, 1, (200, 4)).astype(np.float32)
    scores = np.tile(np.array([0.9, 0.1], np.float32), (200, 1))
    with pytest.raises(OptionError, match=r"cannot tell.*'loc' 200x4 \(.* to .*\); 'conf' 200x2") as caught:
        choose_head({"loc": offsets, "conf": scores}, Scene(SIZE))
    assert "yolov5, yolov5-raw, yolox, yolov8, ssd" in caught.value.fix


def scrfd(maps: bool = False) -> dict[str, np.ndarray]:
    """Two boxes a cell; the second box of row 1, column 2 of stride 8 has distances 1, 0.5, 1, 1."""
    sample: dict[str, np.ndarray] = {}
    for stride, side in ((8, 4), (16, 2), (32, 1)):
        scores = np.full((side * side * 2, 1), 0.01, np.float32)
        boxes = np.full((side * side * 2, 4), 0.5, np.float32)
        if stride == 8:
            at = (1 * 4 + 2) * 2 + 1
            scores[at], boxes[at] = 0.8, (1, 0.5, 1, 1)
        points = np.zeros((side * side * 2, 10), np.float32)
        for name, values in (("score", scores), ("bbox", boxes), ("kps", points)):
            if maps:
                values = values.reshape(side, side, 2, -1).transpose(2, 3, 0, 1).reshape(-1, side, side)
            sample[f"{name}_{stride}"] = values
    return sample


@pytest.mark.parametrize("maps", [False, True])
def test_scrfd(maps: bool) -> None:
    head, detections = found(scrfd(maps))
    assert (head.name, head.classes) == ("scrfd", 1)
    # The cell's corner is (16, 8).
    assert as_list(detections) == [([8, 4, 24, 16], 0.8, 0)]


def test_yunet() -> None:
    sample: dict[str, np.ndarray] = {}
    for stride, side in ((8, 4), (16, 2), (32, 1)):
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            sample[f"{name}_{stride}"] = np.full((side * side, width), 0.01, np.float32)
    # Column 1, row 0 of stride 16: centre (1.5 * 16, 0.25 * 16), size (16, 8).
    sample["cls_16"][1], sample["obj_16"][1] = 0.81, 0.36
    sample["bbox_16"][1] = 0.5, 0.25, 0, math.log(0.5)
    head, detections = found(sample)
    assert head.name == "yunet"
    assert as_list(detections) == [([16, 0, 32, 8], 0.54, 0)]


@pytest.mark.parametrize(
    ("row", "tail"),
    [
        ((6, 10, 14, 14, 0.9, 3), (0, 0, 0, 0, 0, 0)),
        ((3, 0.9, 6, 10, 14, 14), (0, 0.3, 1, 1, 2, 5)),
        ((0, 6, 10, 14, 14, 3, 0.9), (0, 1, 1, 2, 5, 0, 0.3)),
        ((0, 3, 0.9, 6 / 32, 10 / 32, 14 / 32, 14 / 32), (-1, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_a_table_behind_the_model_s_nms(row, tail) -> None:
    head, detections = found({"y": np.array([row, tail], np.float32)})
    assert (head.name, head.final) == ("nms", True)
    assert as_list(detections)[0] == ([6, 10, 14, 14], 0.9, 3)
    assert len(detections) == (2 if tail[1] else 1)


def test_efficient_nms_fills_so_many_rows() -> None:
    boxes = np.array([[6, 10, 14, 14], [0, 0, 4, 4], [1, 1, 9, 9]], np.float32)
    sample = {
        "num_dets": np.array([2], np.int32),
        "det_boxes": boxes,
        "det_scores": np.array([0.9, 0.6, 0.5], np.float32),
        "det_classes": np.array([3, 1, 1], np.int32),
    }
    head, detections = found(sample)
    assert head.name == "nms"
    assert as_list(detections) == [([6, 10, 14, 14], 0.9, 3), ([0, 0, 4, 4], 0.6, 1)]


def test_torchvision_mmdeploy_and_tensorflow() -> None:
    box, label = np.array([[6, 10, 14, 14]], np.float32), np.array([3])
    score = np.array([0.9], np.float32)
    expected = [([6, 10, 14, 14], 0.9, 3)]
    assert as_list(found({"boxes": box, "labels": label, "scores": score})[1]) == expected
    five = np.concatenate([box, score[:, None]], axis=1)
    assert as_list(found({"dets": five, "labels": label})[1]) == expected
    swapped = {
        "detection_boxes": box[:, [1, 0, 3, 2]] / 32,
        "detection_classes": label.astype(np.float32),
        "detection_scores": score,
        "num_detections": np.array([1], np.float32),
    }
    assert as_list(found(swapped)[1]) == expected


def test_nothing_found_yet_is_no_error() -> None:
    empty = {
        "boxes": np.zeros((0, 4), np.float32),
        "labels": np.zeros(0, np.int64),
        "scores": np.zeros(0, np.float32),
    }
    assert choose_head(empty, Scene(SIZE)) is None
    assert choose_head({"y": np.zeros((100, 6), np.float32)}, Scene(SIZE)) is None


def test_what_is_no_detector() -> None:
    hidden = RANDOM.normal(0, 1, (128, 64)).astype(np.float32)
    for sample in ({"y": np.ones(1000, np.float32)}, {"y": hidden}, {"y": np.abs(hidden)}):
        assert looks_like_detector(sample, Scene((224, 224))) is None
    # A map of text or of an object, as large as the cells of one stride are many.
    plane = RANDOM.random((1, 64, 64)).astype(np.float32)
    assert looks_like_detector({"y": plane}, Scene((64, 64))) is None
    assert looks_like_detector({"y": plane[:, :16, :16], "z": plane}, Scene((128, 128))) is None
    with pytest.raises(OptionError, match=r"cannot tell.*'y' 1000 \(1 to 1\)"):
        choose_head({"y": np.ones(1000, np.float32)}, Scene(SIZE))
    assert looks_like_detector({"y": yolox()[0]}, Scene(SIZE)) is not None


def test_a_head_that_is_named_must_fit() -> None:
    with pytest.raises(OptionError, match="do not fit the head 'yolox'"):
        choose_head({"y": np.ones((19, 7), np.float32)}, Scene(SIZE), "yolox")
    few = np.array([[10, 12, 8, 4, 0.8, 0.1, 0.75], [10, 12, 8, 4, 0.1, 0.1, 0.75]], np.float32)
    assert as_list(found({"y": few}, head="yolov5")[1]) == [([6, 10, 14, 14], 0.6, 1)]
    assert as_list(found({"y": few[:, [0, 1, 2, 3, 5, 6]].T}, head="yolov8")[1])[0] == (
        [6, 10, 14, 14],
        0.75,
        1,
    )


@pytest.mark.parametrize(
    ("rows", "size", "strides", "anchors"),
    [
        (8400, (640, 640), (8, 16, 32), 1),
        (25200, (640, 640), (8, 16, 32), 3),
        (3549, (416, 416), (8, 16, 32), 1),
        (2535, (416, 416), (16, 32), 3),
        (34000, (1280, 1280), (8, 16, 32, 64), 1),
    ],
)
def test_the_strides_follow_from_the_rows(rows, size, strides, anchors) -> None:
    assert grid_of(rows, size) == (strides, anchors)
    assert grid_of(rows + 1, size) is None
