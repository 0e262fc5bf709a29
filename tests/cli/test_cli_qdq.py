"""The verbs lint and dequantize, as a user calls them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal.cli import main
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.trt.cache import read_cache

if TYPE_CHECKING:
    from pathlib import Path

SCALES = {"x": 0.125, "y": 0.25}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    node = toys.node("Gemm", "x w", "y", name="fc")
    weight = np.random.default_rng(0).normal(0, 1, (16, 16)).astype(np.float32)
    proto = toys.model([node], {"x": ["N", 16]}, {"y": ["N", 16]}, {"w": weight})
    quantize_model(load(proto), SCALES).save(tmp_path / "model.int8.onnx")
    return tmp_path / "model.int8.onnx"


def test_lint_of_a_sound_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(model)]) == 0
    assert capsys.readouterr().out == "0 errors, 0 recommendations\n"


def test_lint_of_a_faulty_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = onnx.load(model)
    zero = next(t for t in proto.graph.initializer if t.name == "x_zero_point")
    zero.CopyFrom(onnx.numpy_helper.from_array(np.array(5, np.int8), "x_zero_point"))
    onnx.save(proto, model)
    assert main(["lint", str(model)]) == 1
    text = capsys.readouterr().out
    assert "error [zero-point-value] x_QuantizeLinear:" in text and "2 errors" in text
    assert main(["lint", str(model), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {each["node"] for each in found} == {"x_QuantizeLinear", "x_DequantizeLinear"}
    assert set(found[0]) == {"level", "rule", "node", "what", "consequence"}


def test_dequantize_writes_model_cache_and_precisions(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    float_model, cache = model.with_name("float.onnx"), model.with_name("out.cache")
    arguments = [
        "-q",
        "-o",
        str(float_model),
        "--cache",
        str(cache),
        "--trt-version",
        "8.6.1",
        "--layer-precisions",
    ]
    assert main(["dequantize", str(model), *arguments]) == 0
    assert capsys.readouterr().out == "fc:int8\n"
    assert dict(read_cache(cache).scales) == SCALES
    assert read_cache(cache).header == "TRT-8601-EntropyCalibration2"
    assert [node.op_type for node in onnx.load(float_model).graph.node] == ["Gemm"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "nothing to do"), (["--cache", "x", "--trt-version", "banana"], "banana")],
)
def test_misuse_is_a_message(
    model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dequantize", str(model), *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "cache", "message"),
    [
        ("same", "same", "two outputs have the same path"),
        ("model.int8.onnx", "c.cache", "overwrite an input"),
        ("float.onnx", "model.int8.onnx", "overwrite an input"),
    ],
)
def test_dequantize_overwrites_nothing(
    model: Path, output: str, cache: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.read_bytes()
    paths = ["-o", str(model.with_name(output)), "--cache", str(model.with_name(cache))]
    assert main(["dequantize", str(model), *paths]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in model.parent.iterdir()] == [model.name] and model.read_bytes() == before


def test_a_float_model_is_a_message(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    float_model = model.with_name("float.onnx")
    main(["dequantize", str(model), "-o", str(float_model)])
    for verb in (["lint", str(float_model)], ["dequantize", str(float_model), "--layer-precisions"]):
        assert main(verb) == 1
        assert "error: the model" in capsys.readouterr().err
