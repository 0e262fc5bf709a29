"""`onnx-trtcal compile`: verdicts, exit statuses, and what is said where there is no engine."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import onnx
import pytest
from helpers.compiler import Pattern, needs_compiler, quantized, two_convs

from onnx_trtcal.cli import main
from onnx_trtcal.trt.compiler import build as building

pytestmark = pytest.mark.slow

MODELS = Path(__file__).resolve().parents[2] / "models"

Capture = pytest.CaptureFixture[str]


def saved(model: onnx.ModelProto, folder: Path, name: str = "m.onnx") -> str:
    onnx.save(model, folder / name)
    return str(folder / name)


def narrow() -> onnx.ModelProto:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 16)
    pattern.conv("a", "small", 16, 4)
    pattern.conv("small", "b", 4, 8)
    pattern.conv("b", "c", 8, 16)
    return pattern.model("c")


def with_lost_layer() -> onnx.ModelProto:
    """A Q/DQ model with a [1]-shaped activation scale, which builds and does not run in INT8."""
    model = quantized(two_convs())
    scale = next(node for node in model.graph.node if node.name == "r_DequantizeLinear").input[1]
    for tensor in model.graph.initializer:
        if tensor.name == scale:
            tensor.dims.append(1)
    return model


@needs_compiler
def test_the_verdict_comes_first(tmp_path: Path, capsys: Capture) -> None:
    path = saved(quantized(two_convs()), tmp_path)
    assert main(["compile", path, "--require-int8"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{path}: builds; 2 of 2 layers in INT8, 100.0 % of the multiply-adds"
    assert "TensorRT for RTX" in said[1] and "for SM86" in said[1]
    assert "TensorRT 8 to 10 may fuse otherwise" in said[1]
    assert (
        said[2] == "  5 kernels, of which 1 only convert; moved in an inference: 4.8 kB float and 2.4 kB INT8"
    )
    assert len(said) == 3


@needs_compiler
def test_layers_in_float_and_why(tmp_path: Path, capsys: Capture) -> None:
    path = saved(quantized(narrow(), exclude=("n_a",), min_channels=16), tmp_path)
    assert main(["compile", path, "--require-int8"]) == 0
    said = capsys.readouterr().out
    assert "2 of 4 layers in INT8" in said
    assert "  2 layers not in INT8, the most multiply-adds first:" in said
    assert "no Q/DQ pair: excluded from quantization, or its input has no scale" in said
    assert "4 input and 8 output channels, both fewer than 16 (option min_channels)" in said
    assert said.index("    n_a ") < said.index("    n_b ")
    assert "    n_c " not in said
    assert main(["compile", path, "-v"]) == 0
    assert "    n_c " in capsys.readouterr().out
    assert main(["compile", path, "-q"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


@needs_compiler
def test_a_layer_that_loses_int8(tmp_path: Path, capsys: Capture) -> None:
    path = saved(with_lost_layer(), tmp_path)
    assert main(["compile", path]) == 0
    assert (
        "1 of 2 layers in INT8, 93.1 % of the multiply-adds; 1 layer with Q/DQ pairs in float"
        in capsys.readouterr().out
    )
    assert main(["compile", path, "--require-int8"]) == 1


@needs_compiler
def test_ten_rows_unless_verbose(tmp_path: Path, capsys: Capture) -> None:
    pattern = Pattern()
    name = "x"
    for index in range(12):
        name = pattern.conv(name, f"c{index}", 24, 24, kernel=1)
    path = saved(pattern.model(name), tmp_path)
    assert main(["compile", path]) == 0
    said = capsys.readouterr().out
    assert "0 of 12 layers in INT8, 0.0 % of the multiply-adds: no layer has Q/DQ pairs" in said
    assert said.count("no Q/DQ pair on") == 10 and "... and 2 more (-v shows all)" in said
    assert main(["compile", path, "-v"]) == 0
    assert capsys.readouterr().out.count("no Q/DQ pair on") == 12


@needs_compiler
def test_two_models_side_by_side(tmp_path: Path, capsys: Capture) -> None:
    plain, small = (
        saved(two_convs(), tmp_path, "plain.onnx"),
        saved(quantized(two_convs()), tmp_path, "q.onnx"),
    )
    assert main(["compile", plain, small]) == 0
    said = capsys.readouterr().out
    assert f"{small} moves " in said and "% fewer bytes: 7.2 kB against " in said
    assert "layers that differ: 2" in said
    assert "n_a    Conv       float    INT8" in said
    assert main(["compile", small, small, "-q"]) == 0
    assert capsys.readouterr().out.endswith("both move the same number of bytes\n")


@needs_compiler
def test_json(tmp_path: Path, capsys: Capture) -> None:
    path = saved(with_lost_layer(), tmp_path)
    good = saved(quantized(two_convs()), tmp_path, "good.onnx")
    assert main(["compile", path, good, "--json", "--require-int8"]) == 1
    said = json.loads(capsys.readouterr().out)
    first, second = said["models"]
    assert first["built"] and first["gpu"] == "sm86" and first["summary"]["int8_layers"] == 1
    assert [layer["precision"] for layer in second["layers"]] == ["INT8", "INT8"]
    assert second["summary"]["int8_share"] == 1 and len(second["kernels"]) == second["summary"]["kernels"]
    assert said["differences"] == [{"name": "n_c", "op": "Conv", "first": "float", "second": "INT8"}]


@needs_compiler
def test_the_engine(tmp_path: Path, capsys: Capture) -> None:
    engine = tmp_path / "digits.engine"
    flags = ["--engine", str(engine), "--shapes", "input:3x1x8x8", "--gpu", "sm89"]
    assert main(["compile", str(MODELS / "digits_resnet.onnx"), *flags]) == 0
    said = capsys.readouterr().out
    assert f"wrote {engine} ({engine.stat().st_size:,} bytes)" in said
    assert "input is 3x1x8x8" in said and "for SM89" in said


@needs_compiler
def test_what_the_parser_refuses(tmp_path: Path, capsys: Capture) -> None:
    model = two_convs()
    model.graph.node[1].op_type = "NoSuchOp"
    assert main(["compile", saved(model, tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "m.onnx: does not build\n" in said
    assert "  parser [operator] NoSuchOp n_r: Plugin not found" in said
    assert "    to fix: TensorRT for RTX has no such operator and no plugins" in said


@needs_compiler
def test_a_compiler_that_is_not_given_time(tmp_path: Path, capsys: Capture) -> None:
    assert main(["compile", saved(two_convs(), tmp_path), "--timeout", "0.01"]) == 1
    said = capsys.readouterr().out
    assert "m.onnx: not known: NVIDIA's compiler was stopped before it was done\n" in said
    assert "to fix: give it more time: --timeout SECONDS" in said and "fault" not in said


def test_a_crash_is_one_clear_message(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "stand_in.py"
    worker.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(building, "_WORKER", worker)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert main(["compile", saved(two_convs(), tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "does not build: an internal error of NVIDIA's compiler" in said
    assert "internal [crash]: the compiler did not finish: it ended with SIGSEGV" in said


def test_without_the_package(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(two_convs(), tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["compile", path]) == 3
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "pip install 'onnx_trtcal[compiler]'" in said.err and "pip install '.[compiler]'" in said.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["{m}", "{m}", "{m}"], "one model or two, and these are 3"),
        (["{m}", "{m}", "--engine", "{out}"], "--engine is for one model"),
        (["{m}", "--engine", "{m}"], "m.onnx"),
        (["{m}", "--shapes", "x=1x2"], "is not an input's shape"),
        (["{m}", "--timeout", "0"], "not a positive number of seconds"),
        (["{folder}"], "this is a folder, not a model file"),
    ],
)
def test_flags_that_make_no_sense(flags: list[str], message: str, tmp_path: Path, capsys: Capture) -> None:
    known = {"m": saved(two_convs(), tmp_path), "out": tmp_path / "o.engine", "folder": tmp_path}
    assert main(["compile", *(flag.format(**known) for flag in flags)]) == 1
    assert message in capsys.readouterr().err
