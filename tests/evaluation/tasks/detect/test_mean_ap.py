"""mAP: what the package computes is the definition's value for cases that can be worked out."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation.tasks.detect.boxes import Detections
from onnx_trtcal.evaluation.tasks.detect.mean_ap import mean_average_precision, needed_package
from onnx_trtcal.evaluation.tasks.detect.truth import Boxes

pytest.importorskip("faster_coco_eval")

BOX = [10.0, 10.0, 20.0, 20.0]


def right(*classes: int) -> Boxes:
    count = len(classes)
    return Boxes(
        np.array([[30.0 * at, 10, 30 * at + 10, 20] for at in range(count)]).reshape(-1, 4),
        np.array(classes, np.int64),
        np.zeros(count, bool),
    )


def found(*rows: tuple[list[float], float, int]) -> Detections:
    return Detections(
        np.array([row[0] for row in rows], float).reshape(-1, 4),
        np.array([row[1] for row in rows], float),
        np.array([row[2] for row in rows], np.int64),
    )


def test_all_found_exactly() -> None:
    truth = [right(0, 1), right(1)]
    same = [
        found(*((box.tolist(), 0.9, int(label)) for box, label in zip(each.boxes, each.classes, strict=True)))
        for each in truth
    ]
    scores = mean_average_precision(truth, same)
    assert scores == pytest.approx({"mAP 0.5:0.95": 1.0, "mAP 0.5": 1.0})


def test_a_box_that_overlaps_by_nine_tenths_counts_up_to_that_threshold() -> None:
    scores = mean_average_precision([right(0)], [found(([0, 10, 9.2, 20], 0.9, 0))])
    # Overlap 0.92: right at 0.5, 0.55 … 0.9, which are nine of the ten thresholds.
    assert scores == pytest.approx({"mAP 0.5:0.95": 0.9, "mAP 0.5": 1.0})


def test_a_wrong_detection_that_is_surer_halves_precision() -> None:
    scores = mean_average_precision([right(0)], [found((BOX, 0.95, 0), ([0, 10, 10, 20], 0.9, 0))])
    assert scores["mAP 0.5"] == pytest.approx(0.5)


def test_classes_that_are_not_labelled_do_not_count() -> None:
    scores = mean_average_precision([right(3)], [found(([0, 10, 10, 20], 0.9, 3), (BOX, 0.99, 4))])
    assert scores["mAP 0.5"] == pytest.approx(1.0)


def test_nothing_found_and_nothing_to_find() -> None:
    assert mean_average_precision([right(0)], [found()]) == {"mAP 0.5:0.95": 0.0, "mAP 0.5": 0.0}
    assert all(math.isnan(value) for value in mean_average_precision([right()], [found()]).values())


def test_it_prints_nothing(capsys) -> None:
    mean_average_precision([right(0)], [found(([0, 10, 10, 20], 0.9, 0))])
    assert capsys.readouterr() == ("", "")


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(OptionError, match="faster-coco-eval") as caught:
        needed_package()
    assert "pip install 'onnx_trtcal[detect]'" in caught.value.fix
