"""What models say of their preprocessing, as flags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnx_trtcal.data.images.proposal import class_names, proposal
from onnx_trtcal.options import Preprocess
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

FIXED = InputSpec("images", np.dtype(np.float32), (1, 3, 320, 416))
DYNAMIC = InputSpec("images", np.dtype(np.float32), ("batch", 3, "height", "width"))
YOLO = {"task": "detect", "stride": "32", "imgsz": "[320, 416]", "names": "{0: 'cat', 1: 'dog'}"}


@pytest.mark.parametrize(
    ("spec", "metadata", "flags"),
    [
        (FIXED, YOLO, "--preset yolo"),
        (DYNAMIC, YOLO, "--preset yolo --size 320,416"),
        (DYNAMIC, {**YOLO, "imgsz": "640"}, "--preset yolo --size 640,640"),
        (DYNAMIC, {**YOLO, "task": "classify"}, "--resize shorter --size 320,416 --crop 320,416"),
        (DYNAMIC, {**YOLO, "imgsz": "nonsense("}, "--preset yolo"),
        (DYNAMIC, {**YOLO, "imgsz": "[]"}, "--preset yolo"),
        (DYNAMIC, {**YOLO, "imgsz": "{{}: 1}"}, "--preset yolo"),
    ],
)
def test_ultralytics(spec: InputSpec, metadata: dict[str, str], flags: str) -> None:
    line = proposal([spec], Preprocess(), metadata, None)
    assert line.startswith("the model's metadata (ultralytics, ") and line.endswith(f"pass {flags}")


VIT = {
    "do_resize": True, "size": {"height": 224, "width": 192}, "resample": 3, "do_rescale": True,
    "rescale_factor": 0.00392156862745098, "do_normalize": True, "image_mean": [-0.5, 0.5, 0.5], "image_std": [0.5] * 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (
            VIT,
            "--resize stretch --size 224,192 --interpolation bicubic --mean=-0.5,0.5,0.5 --std 0.5,0.5,0.5",
        ),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224, "do_normalize": False},
            "--resize shorter --size 256,256 --crop 224,224 --interpolation bilinear",
        ),
        ({"do_resize": False, "do_rescale": False, "size": 9}, "--scale 1"),
    ],
)
def test_hugging_face(tmp_path: Path, config: dict[str, object], flags: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    (tmp_path / "onnx").mkdir()
    for folder in (tmp_path, tmp_path / "onnx"):
        line = proposal([DYNAMIC], Preprocess(), {}, folder)
        assert line.startswith("preprocessor_config.json says ") and line.endswith(f"pass {flags}")


def test_silence_where_there_is_nothing_to_propose(tmp_path: Path) -> None:
    assert proposal([], Preprocess(), YOLO, None) == ""
    assert proposal([FIXED], Preprocess(preset="raw"), YOLO, None) == ""
    assert proposal([FIXED], Preprocess(), {"task": "detect"}, tmp_path) == ""
    for damaged in (
        '{"size": "large"}',
        '{"rescale_factor": 1%s}' % ("0" * 400),
        "[" * 9999,
        '{"crop_size": -1',
    ):
        (tmp_path / "preprocessor_config.json").write_text(damaged)
        assert proposal([FIXED], Preprocess(), {}, tmp_path) == ""


def test_names_of_classes() -> None:
    assert class_names(YOLO) == ["cat", "dog"]
    assert class_names({"names": "['a', 'b']"}) == ["a", "b"]
    assert (
        class_names({"names": "{1: 'a'}"})
        == class_names({})
        == class_names({"names": "__import__('os')"})
        == []
    )
