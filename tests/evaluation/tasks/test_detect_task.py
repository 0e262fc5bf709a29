"""evaluate() and sensitivity() with the task `detect`: counts worked out by hand, whole runs."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.detectors import SIZE, constant_model, detector, yolov8, yolox
from onnx import numpy_helper
from PIL import Image

from onnx_trtcal import (
    EvaluationOptions,
    Options,
    Preprocess,
    QdqOptions,
    SensitivityOptions,
    evaluate,
    sensitivity,
)
from onnx_trtcal.errors import DataError, OptionError

CPU = Options(provider="cpu")
DATA = np.random.default_rng(5).random((3, 3, *SIZE)).astype(np.float32)

# Of three boxes INT8 keeps one that moves by an eighth, gives one to another class, and loses one; one is invented.
FP32 = yolov8((3, 10, 12, 8, 8, 1, 0.9), (6, 24, 12, 8, 8, 0, 0.6), (20, 16, 24, 20, 10, 0, 0.5))
INT8 = yolov8((3, 11, 12, 8, 8, 1, 0.7), (6, 24, 12, 8, 8, 1, 0.6))


def compared(fp32, int8, **fields):
    request = EvaluationOptions(options=CPU, quantized=constant_model(int8), task="detect", **fields)
    return evaluate(constant_model(fp32), DATA, request)


def test_what_is_kept_lost_and_invented() -> None:
    found = compared({"y": FP32}, {"y": INT8})
    counts = found.detection
    assert (counts.head, counts.fp32, counts.int8, counts.kept) == ("yolov8", 9, 6, 3)
    assert (counts.lost, counts.invented) == (6, 3)
    assert counts.mean_iou == pytest.approx(7 / 9)
    assert found.agreement == pytest.approx(2 * 3 / 15)
    assert (found.task, found.target.name, found.target.merit.int8) == (
        "detect",
        "agreement",
        found.agreement,
    )


def test_thresholds() -> None:
    assert compared({"y": FP32}, {"y": INT8}, iou=0.8).detection.kept == 0
    assert compared({"y": FP32}, {"y": INT8}, score_threshold=0.65).detection.fp32 == 3
    close = yolov8((3, 10, 12, 8, 8, 1, 0.9), (6, 11, 12, 8, 8, 1, 0.6))
    assert compared({"y": close}, {"y": close}).detection.fp32 == 3
    assert compared({"y": close}, {"y": close}, nms_iou=0.8).detection.fp32 == 6


def test_the_same_model_keeps_everything_whatever_the_head() -> None:
    raw = yolox((5, 0.5, -0.25, math.log(2), math.log(0.5), 0.8, 1, 0.5))
    table = np.array([[[6, 10, 14, 14, 0.9, 3], [0, 0, 4, 4, 0.6, 1]]], np.float32)
    boxes = np.array([[[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 0.5]]], np.float32)
    scores = np.array([[[0.1, 0.9], [0.9, 0.1]]], np.float32)
    for outputs, head, count in (
        ({"y": raw}, "yolox", 3),
        ({"y": table}, "nms", 6),
        ({"boxes": boxes, "scores": scores}, "ssd", 3),
    ):
        found = compared(outputs, outputs).detection
        assert (found.head, found.fp32, found.kept, found.mean_iou) == (head, count, count, 1.0)
        assert (found.nms_iou is None) == (head == "nms")


def test_sensitivity_counts_what_evaluate_counts() -> None:
    images = np.random.default_rng(1).normal(0, 1, (6, 3, *SIZE)).astype(np.float32)
    request = SensitivityOptions(images, CPU, task="detect", worst=2)
    found = sensitivity(detector(), images, request)
    assert found.by == "agreement"
    assert [group.damage.change for group in found.ranked] == sorted(
        (group.damage.change for group in found.ranked), reverse=True
    )
    assert found.everything.detection.fp32 > 20
    for count, damage in [(0, found.everything), *((kept.groups, kept.damage) for kept in found.kept)]:
        asked = EvaluationOptions(images, CPU, QdqOptions(exclude=found.exclude[:count]), task="detect")
        real = evaluate(detector(), images, asked)
        assert damage.detection.mean_iou == pytest.approx(real.detection.mean_iou, abs=1e-4)
        same = replace(damage.detection, mean_iou=real.detection.mean_iou)
        assert (same, damage.agreement) == (real.detection, real.agreement)


def test_batches_do_not_show() -> None:
    """A free batch axis, run one by one and all together."""
    model = detector()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    flat = next(each for each in model.graph.initializer if each.name == "flat")
    flat.CopyFrom(numpy_helper.from_array(np.array([0, 7, -1]), "flat"))
    images = np.random.default_rng(1).normal(0, 1, (6, 3, *SIZE)).astype(np.float32)
    counts = {
        evaluate(
            model, images, EvaluationOptions(images, Options(provider="cpu", batch_size=size), task="detect")
        ).detection
        for size in (1, 4, 6)
    }
    assert len({(each.fp32, each.int8, each.kept, each.reason) for each in counts}) == 1


def coco(path, boxes, size=SIZE):
    content = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": size[0], "width": size[1]}
            for number in range(3)
        ],
        "annotations": [
            {"image_id": number, "category_id": label, "bbox": box}
            for number in range(3)
            for label, box in boxes
        ],
        "categories": [{"id": 1}, {"id": 2}],
    }
    path.write_text(json.dumps(content))
    return path


def test_labels_give_map_of_both(tmp_path) -> None:
    pytest.importorskip("faster_coco_eval")
    labels = coco(tmp_path / "coco.json", [(2, [6, 8, 8, 8]), (1, [20, 8, 8, 8])])
    found = compared({"y": FP32}, {"y": INT8}, labels=labels)
    # FP32 finds both exactly. INT8 finds one with an overlap of 7/9 and gives the other to the other class.
    assert list(found.scores) == ["mAP 0.5:0.95", "mAP 0.5"]
    assert found.scores["mAP 0.5"].fp32 == pytest.approx(1.0)
    assert found.scores["mAP 0.5"].int8 == pytest.approx(0.5)
    assert found.scores["mAP 0.5:0.95"].int8 == pytest.approx(0.3)
    assert found.target.name == "mAP 0.5:0.95"
    # The thresholds of what is kept and lost do not change mAP.
    strict = compared({"y": FP32}, {"y": INT8}, labels=labels, score_threshold=0.95)
    assert (strict.detection.fp32, strict.scores) == (0, found.scores)


def test_labels_of_images_are_mapped_as_the_images_are(tmp_path) -> None:
    pytest.importorskip("faster_coco_eval")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.new("RGB", (128, 64), (number, 9, 9)).save(images / f"{number}.png")
    # A quarter of the size, 8 below the top: the box is [6, 8, 14, 16] in the input.
    labels = coco(tmp_path / "coco.json", [(2, [24, 0, 32, 32])], size=(64, 128))
    yolo = tmp_path / "yolo"
    yolo.mkdir()
    (yolo / "1.txt").write_text(f"1 {40 / 128} {16 / 64} {32 / 128} {32 / 64}\n")
    output = {"y": yolov8((3, 10, 12, 8, 8, 1, 0.9))}
    options = Options(provider="cpu", preprocess=Preprocess(preset="yolo"))
    for path, expected in ((labels, 1.0), (yolo, 1.0)):
        request = EvaluationOptions(
            options=options, quantized=constant_model(output), task="detect", labels=path
        )
        scores = evaluate(constant_model(output), str(images), request).scores
        if path is labels:
            assert scores["mAP 0.5:0.95"].fp32 == pytest.approx(expected)
        else:  # The two images without a file show nothing: what is found there is wrong.
            assert 0.3 < scores["mAP 0.5:0.95"].fp32 <= expected


def test_which_head_was_taken_is_said(tmp_path) -> None:
    class Listener:
        def __init__(self) -> None:
            self.said: list[str] = []

        def say(self, text: str) -> None:
            self.said.append(text)

        warn = say

        def progress(self, total):
            from contextlib import nullcontext

            return nullcontext(lambda count: None)

    listener = Listener()
    request = EvaluationOptions(options=CPU, quantized=constant_model({"y": INT8}), task="detect")
    evaluate(constant_model({"y": FP32}), DATA, request, listener=listener)
    assert any(line.startswith("detections: head 'yolov8', found: 'y' is 6x21") for line in listener.said)
    hinted = Listener()
    request = EvaluationOptions(options=CPU, quantized=constant_model({"y": INT8}))
    found = evaluate(constant_model({"y": FP32}), DATA, request, listener=hinted)
    assert any("looks like a detector (yolov8): pass --task detect" in line for line in hinted.said)
    assert (found.task, found.agreement, found.target) == ("none", None, None)
    silent = Listener()
    request = EvaluationOptions(options=CPU, quantized=constant_model({"y": INT8}), task="none")
    evaluate(constant_model({"y": FP32}), DATA, request, listener=silent)
    assert not any("detector" in line for line in silent.said)


def test_outputs_that_hold_no_detections() -> None:
    vector = {"y": np.ones((1, 10), np.float32)}
    with pytest.raises(OptionError, match=r"cannot tell.*'y' 10 \(1 to 1\)"):
        compared(vector, vector)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "detekt"}, "task is 'detekt'"),
        ({"task": "detect", "head": "yolo"}, "head is 'yolo'"),
        ({"head": "yolox"}, "only the task detect has heads"),
        ({"iou": 1.5}, "iou is 1.5"),
        ({"score_threshold": -1}, "score_threshold is -1"),
    ],
)
@pytest.mark.parametrize("kind", [EvaluationOptions, SensitivityOptions])
def test_options_that_mean_nothing(kind, fields, said) -> None:
    with pytest.raises(OptionError, match=said):
        kind(**fields)


def test_map_without_its_package_is_told_before_anything_is_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    labels = coco(tmp_path / "coco.json", [(2, [6, 8, 8, 8])])
    with pytest.raises(OptionError, match="needs the package faster-coco-eval"):
        evaluate("missing.onnx", DATA, EvaluationOptions(task="detect", labels=labels))


def test_boxes_are_no_labels_of_a_classifier(tmp_path) -> None:
    labels = coco(tmp_path / "coco.json", [(2, [6, 8, 8, 8]), (1, [20, 8, 8, 8])])
    with pytest.raises(DataError, match="shows 2 classes") as caught:
        evaluate("missing.onnx", DATA, EvaluationOptions(labels=labels))
    assert "--task detect" in caught.value.fix
