"""`onnx-trtcal evaluate` and `sensitivity` on the bundled models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.detectors import detector

from onnx_trtcal.cli import main

MODELS = Path(__file__).resolve().parents[2] / "models"
IMAGES = [str(MODELS / "digits_resnet.onnx"), str(MODELS / "digits_test")]
ROWS = [str(MODELS / "digits_mlp.onnx"), str(MODELS / "digits_test.npy")]
CALIB = ["--calibrate-on", str(MODELS / "digits_calib.npy"), "--provider", "cpu"]

Capture = pytest.CaptureFixture[str]


@pytest.mark.slow
def test_images_with_labels_by_file(capsys: Capture) -> None:
    labels = str(MODELS / "digits_test" / "labels.csv")
    calib = ["--calibrate-on", str(MODELS / "digits_calib"), "--provider", "cpu"]
    assert main(["evaluate", *IMAGES, *calib, "--labels", labels]) == 0
    said = capsys.readouterr().out
    assert "error first appears in '/stem/relu/Relu_output_0'" in said
    assert "same top-1 from both, by 'logits': " in said
    assert "  top-1      99.17%" in said


def test_rows_with_labels_by_index_as_json(capsys: Capture) -> None:
    labels = str(MODELS / "digits_test_labels.csv")
    assert main(["evaluate", *ROWS, *CALIB, "--labels", labels, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 240 and found["classes"] == "logits"
    assert found["scores"]["top-1"]["fp32"] == pytest.approx(0.98333, abs=1e-4)
    assert found["tensors"][0]["sqnr"] is None  # infinite: the input is the same


def test_a_q_dq_file_and_a_metric(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "m.py").write_text(
        "def right(outputs, labels):\n    return (outputs['logits'].argmax(1) == labels).astype(float)\n"
    )
    model = str(tmp_path / "q.onnx")
    assert main(["quantize", ROWS[0], CALIB[1], "-o", model, "-q", "--provider", "cpu"]) == 0
    flags = ["--labels", str(MODELS / "digits_test_labels.csv"), "--metric", f"{tmp_path / 'm.py'}:right"]
    assert main(["evaluate", *ROWS, "--qdq", model, *flags, "--provider", "cpu", "-q"]) == 0
    said = capsys.readouterr()
    assert "  right     0.983333  " in said.out and " +/- " in said.out
    assert said.err == ""


def test_measuring_on_the_calibration_data_is_warned_of(capsys: Capture) -> None:
    assert main(["evaluate", *ROWS, "--provider", "cpu", "--max-samples", "16", "-q"]) == 0
    assert "calibrated on the same data that INT8 is measured on" in capsys.readouterr().err


def test_two_sources_are_misuse() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *ROWS, "--cache", "a", "--stats", "b"])
    assert caught.value.code == 2


def test_a_metric_that_fails_is_told(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "m.py").write_text("def f(outputs, labels):\n    return 1 / 0\n")
    metric = f"{tmp_path / 'm.py'}:f"
    assert main(["evaluate", *ROWS, *CALIB, "--metric", metric, "--max-samples", "8"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and "m.py, line 2" in said and "Traceback" not in said


def test_sensitivity_prints_what_to_pass_on(capsys: Capture) -> None:
    labels = str(MODELS / "digits_test_labels.csv")
    flags = ["--max-samples", "24", "--worst", "1", "--labels", labels]
    assert main(["sensitivity", *ROWS, *CALIB, *flags]) == 0
    said = capsys.readouterr().out
    assert "3 groups, 5 runs of every batch" in said
    assert "this group alone, 24 samples:" in said
    worst = said.split("without the worst 1")[1].split()[0]
    assert f"onnx-trtcal quantize … --exclude {worst}" in said
    assert f"--layerPrecisions={worst}:fp16" in said


def test_sensitivity_as_json(capsys: Capture) -> None:
    assert main(["sensitivity", *ROWS, *CALIB, "--max-samples", "8", "--leave-out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left_out"] is True and len(found["ranked"]) == len(found["exclude"]) == 3
    ratios = [group["damage"]["noise_to_signal"] for group in found["ranked"]]
    assert ratios == sorted(ratios)


def test_detections(tmp_path: Path, capsys: Capture) -> None:
    images = np.random.default_rng(1).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    onnx.save(detector(), tmp_path / "yolo.onnx")
    given = [str(tmp_path / "yolo.onnx"), str(tmp_path / "x.npy"), "--provider", "cpu"]
    asked = [*given, "--task", "detect", "--head", "yolox", "--score-threshold", "0.3", "--iou", "0.6"]
    assert main(["evaluate", *asked]) == 0
    said = capsys.readouterr().out
    assert "detections: head 'yolox', as asked: 'y' is 21x7" in said
    assert (
        "kept," in said and "score above 0.3, NMS at IoU 0.45; kept: same class, IoU of at least 0.6" in said
    )
    assert main(["evaluate", *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["detection"]["head"], found["detection"]["iou"]) == ("detect", "yolox", 0.6)
    assert found["detection"]["fp32"] == found["detection"]["kept"] + found["detection"]["lost"]
    assert found["target"]["name"] == "agreement"
    assert main(["sensitivity", *asked, "--worst", "1"]) == 0
    said = capsys.readouterr().out
    assert "ranked by agreement" in said and "invented" in said
    assert main(["evaluate", *given]) == 0
    assert "looks like a detector (yolox): pass --task detect" in capsys.readouterr().out
