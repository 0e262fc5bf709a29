"""README.md is what the code is: its tables, its sample output, its Python and its flags."""

from __future__ import annotations

import ast
import base64
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.compiler import needs_compiler
from onnx import numpy_helper
from PIL import Image

import onnx_trtcal
from onnx_trtcal.cli import VERBS, main, parser_for
from onnx_trtcal.evaluation.labels import read_labels
from onnx_trtcal.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> list[str]:
    """The lines of the fenced block behind a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found, marker
    return found[1].splitlines()


def test_the_tables_are_those_that_are_generated() -> None:
    path = ROOT / "tools" / "readme_tables.py"
    spec = importlib.util.spec_from_file_location("readme_tables", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.filled(README) == README, "run python tools/readme_tables.py"
    rows = module.methods_table().splitlines()[2:]
    assert sorted(re.split(r"[`:]", row)[1] for row in rows) == sorted(METHODS)


def assert_prints(command: str, sample: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a command line in a folder that holds the bundled models; a `…` in the sample stands for anything."""
    for name in ("digits_resnet.onnx", "digits_calib", "digits_test"):
        source, target = ROOT / "models" / name, folder / "models" / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    monkeypatch.chdir(folder)
    # On a machine this slow there would be lines of progress among the others.
    monkeypatch.setattr("onnx_trtcal.cli.console._SECONDS_BETWEEN_LINES", 1e9)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert main(command.split()) == 0
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in sample
    )
    assert re.fullmatch(pattern, printed.getvalue()), printed.getvalue()


def test_the_sample_output_is_that_of_the_run_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = block("run command")[0].partition("-m onnx_trtcal ")[2]
    assert_prints(command, block("sample output"), tmp_path, monkeypatch)


@needs_compiler
@pytest.mark.slow
def test_the_verification_is_that_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = block("verify command")[0].removeprefix("onnx-trtcal ")
    version = importlib.metadata.version("tensorrt-rtx-cu12")
    sample = [re.sub(r"RTX [0-9.]+ for", f"RTX {version} for", line) for line in block("verify output")]
    assert_prints(command, sample, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_steps_are_those_of_the_tune_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = block("tune command")[0].removeprefix("onnx-trtcal ")
    # Times differ, and the last digits of a figure may, from machine to machine.
    sample = [re.sub(r"\d[\d.,]*", "…", line) for line in block("tune output")]
    assert_prints(command, sample, tmp_path, monkeypatch)


def test_the_commands_that_others_read_are_marked() -> None:
    for marker in ("run command", "test command"):
        (line,) = block(marker)
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_the_python_is_that_of_the_api() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    imported = [
        name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    assert imported and {name.name for name in imported} <= set(onnx_trtcal.__all__)
    section = README.partition("## In Python")[2].partition("\n## ")[0]
    functions = {name for name in onnx_trtcal.__all__ if name[0].islower()}
    assert functions <= set(re.findall(r"\w+", section))


def test_every_flag_and_verb_it_shows_exists() -> None:
    table = re.search(r"<!-- options -->.*?<!-- /options -->", README, re.DOTALL)
    assert table
    known = set(re.findall(r"--[a-z][a-z-]*", table[0])) | {"--help"}
    known |= {
        flag for verb in VERBS for action in parser_for(verb)._actions for flag in action.option_strings
    }
    shells = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    commands = [line for text in shells for line in text.replace("\\\n", " ").splitlines()]
    ours = [
        line.partition("#")[0] for line in commands if re.match(r"onnx-trtcal|python -m onnx_trtcal", line)
    ]
    assert len(ours) > 10
    for line in ours:
        assert set(re.findall(r"(?<=\s)--[a-z][a-z-]*", line)) <= known, line


def table(marker: str) -> list[str]:
    """What the first column of a table says, row by row."""
    found = re.search(rf"<!-- {marker} -->\n(.*?)<!-- /{marker} -->", README, re.DOTALL)
    assert found, marker
    rows = [re.match(r"\| `(.*?)` \|", line) for line in found[1].splitlines()[2:]]
    assert rows and all(rows)
    return [row[1] for row in rows if row]


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
    forms = table("data")
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
    for form in table("labels"):
        labels = read_labels(tmp_path / form)
        found = [labels.number(each, 2, "") for each in labels.of(samples, 0)]
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
    forms = table("python data")
    for form in forms:
        data = eval(form, names)
        options = onnx_trtcal.Options(provider="cpu", threads=1)
        calibration = onnx_trtcal.calibrate(tmp_path / "model.onnx", data, options)
        assert calibration.scales["images"].amax == 1, form
