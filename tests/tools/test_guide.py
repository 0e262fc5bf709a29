"""The guide of the documentation is what the code does: its forms of data and labels, and the output that it shows."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import re
import shlex
import sys
import types
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.compiler import needs_compiler
from helpers.doc_pages import ROOT, assert_prints, marked_block, marked_table
from onnx import numpy_helper
from PIL import Image

import onnx_trtcal
from onnx_trtcal.cli import main
from onnx_trtcal.evaluation.labels import read_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GUIDE = ROOT / "tools" / "docs" / "guide"


def page(name: str) -> str:
    return (GUIDE / f"{name}.md").read_text(encoding="utf-8")


@needs_compiler
@pytest.mark.slow
def test_the_verification_is_that_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = marked_block(page("compiler"), "verify command")[0].removeprefix("onnx-trtcal ")
    version = importlib.metadata.version("tensorrt-rtx-cu12")
    sample = [
        re.sub(r"RTX [0-9.]+ for", f"RTX {version} for", line)
        for line in marked_block(page("compiler"), "verify output")
    ]
    assert_prints(command, sample, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_steps_are_those_of_the_tune_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = marked_block(page("tune"), "tune command")[0].removeprefix("onnx-trtcal ")
    # Times differ, and the last digits of a figure may, from machine to machine.
    sample = [re.sub(r"\d[\d.,]*", "…", line) for line in marked_block(page("tune"), "tune output")]
    assert_prints(command, sample, tmp_path, monkeypatch)


IMAGES = [np.full((3, 8, 8), value, np.float32) for value in (0.25, 0.5, 1)]
WEIGHT = np.random.default_rng(4).normal(size=(2, 3, 3, 3)).astype(np.float32)


def write_model(folder: Path) -> None:
    nodes = [
        toys.node("Conv", "images w", "c", pads=[1, 1, 1, 1]),
        toys.node("GlobalAveragePool", "c", "p"),
        toys.node("Flatten", "p", "y"),
    ]
    onnx.save(
        toys.model(nodes, {"images": ["N", 3, 8, 8]}, {"y": ["N", 2]}, {"w": WEIGHT}), folder / "model.onnx"
    )
    pair = {"left/img": ["N", 3, 8, 8], "right": ["N", 3, 8, 8]}
    nodes = [toys.node("Add", ["left/img", "right"], "s"), toys.node("Conv", "s w", "y")]
    onnx.save(toys.model(nodes, pair, {"y": ["N", 2, 6, 6]}, {"w": WEIGHT}), folder / "pair.onnx")


def put_image(path: Path, value: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), round(255 * value), np.uint8)).save(path)


def write_data(root: Path) -> None:
    """A file for each form in the table of data, in the working directory."""
    for name, value in (("images/cat", 0.25), ("images/deep/cow", 0.5), ("images/dog", 1), ("more/a", 0.5)):
        put_image(root / f"{name}.png", value)
    for folder in ("left_img", "right"):
        put_image(root / "pairs" / folder / "1.png", 1)
    (root / "train.txt").write_text("# all of them\r\nimages/cat.png 0\r\n\r\n./images/dog.png 1\r\n")
    (root / "train.csv").write_text("filename,label\nimages/cat.png,0\nimages/dog.png,1\n")
    (root / "samples").mkdir()
    for number, image in enumerate(IMAGES):
        np.save(root / "samples" / f"{number}.npy", image)
    np.save(root / "sample.npy", np.stack(IMAGES))
    np.savez(root / "sample.npz", images=np.stack(IMAGES))
    (root / "input_0.pb").write_bytes(numpy_helper.from_array(IMAGES[2][None]).SerializeToString())
    (root / "rows.jsonl").write_text("".join(json.dumps({"images": each.tolist()}) + "\n" for each in IMAGES))
    rows = {"images": [each.tolist() for each in IMAGES], "label": [0, 1, 0]}
    pytest.importorskip("pyarrow.parquet").write_table(
        pytest.importorskip("pyarrow").table(rows), root / "rows.parquet"
    )
    pytest.importorskip("safetensors.numpy").save_file(
        {"images": np.stack(IMAGES)}, root / "tensors.safetensors"
    )
    saved = io.BytesIO()
    np.save(saved, np.stack(IMAGES))
    array = {"array": base64.b64encode(saved.getvalue()).decode(), "polygraphy_class": "ndarray"}
    (root / "inputs.json").write_text(json.dumps([{"images": array}]))
    (root / "loader.py").write_text(
        "import numpy as np\ndef load_data():\n    yield {'images': np.ones((2, 3, 8, 8), np.float32)}\n"
        "validation = [np.ones((3, 8, 8), np.float32)]\n"
    )


@pytest.mark.slow
def test_every_form_of_data_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    write_data(tmp_path)
    forms = marked_table(page("data"), "data")
    assert len(forms) > 15
    for form in forms:
        if form == "tensors.pt":
            torch = types.SimpleNamespace(load=lambda path, **_: {"images": np.stack(IMAGES)})
            monkeypatch.setitem(sys.modules, "torch", torch)
            (tmp_path / form).touch()
        model = "pair.onnx" if form == "pairs/" else "model.onnx"
        assert main([model, *shlex.split(form), "-o", "out.cache", "-q", "--provider", "cpu"]) == 0, form
        scales = onnx_trtcal.read_cache("out.cache").scales
        peak = scales["left/img" if form == "pairs/" else "images"] * 127
        assert peak == pytest.approx(1, rel=1e-3), form


def test_every_form_of_labels_is_read(tmp_path: Path) -> None:
    samples = ["a/cat.png", "b/dog.png"]
    (tmp_path / "labels.csv").write_text("file,label\ncat.png,0\nb/dog,1\n")
    (tmp_path / "val.txt").write_text("cat.png 0\ndog.png 1\n")
    (tmp_path / "truth.txt").write_text("0\n1\n")
    np.save(tmp_path / "labels.npy", [0, 1])
    for sample in samples:
        put_image(tmp_path / "classes" / sample, 1)
    for name, row in (("cat", "0 .5 .5 .1 .1\n0 .2 .2 .1 .1\n"), ("dog", "1 .5 .5 .1 .1\n")):
        (tmp_path / "yolo").mkdir(exist_ok=True)
        (tmp_path / "yolo" / f"{name}.txt").write_text(row)
    content = {
        "images": [{"id": 7, "file_name": "cat.png"}, {"id": 9, "file_name": "dog.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [{"image_id": 7, "category_id": 17}, {"image_id": 9, "category_id": 18}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    for form in marked_table(page("data"), "labels"):
        labels = read_labels(tmp_path / form)
        found = [labels.number(each, 2, "") for each in labels.of(samples, range(len(samples)))]
        assert found == [0, 1], form


class Indexed:
    """A map-style data set."""

    def __init__(self, elements: Sequence[object]) -> None:
        self.elements = elements

    def __len__(self) -> int:
        return len(self.elements)

    def __getitem__(self, index: int) -> object:
        return self.elements[index]


def test_every_form_of_python_data_is_read(tmp_path: Path) -> None:
    write_model(tmp_path)
    pil = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (64, 255)]
    names = {
        "np": np,
        "images": IMAGES,
        "loader": [(np.stack(IMAGES), np.zeros(3, np.int64))],
        "dataset": Indexed([(image, 3) for image in IMAGES]),
        "rows": Indexed([{"image": image, "label": 3} for image in pil]),
        "pil_images": pil,
    }
    forms = marked_table(page("data"), "python data")
    for form in forms:
        data = eval(form, names)
        options = onnx_trtcal.Options(provider="cpu", threads=1)
        calibration = onnx_trtcal.calibrate(tmp_path / "model.onnx", data, options)
        assert calibration.scales["images"].amax == 1, form
