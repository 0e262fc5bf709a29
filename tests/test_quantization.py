"""quantize(): the layers it reports, and that its file is what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal import EvaluationOptions, Options, QdqOptions, calibrate, evaluate, quantize
from onnx_trtcal.errors import ModelError, StatisticsError
from onnx_trtcal.qdq.lint.lint import lint_model
from onnx_trtcal.support.progress import LoggingListener
from onnx_trtcal.trt.cache import Cache

CPU = Options(provider="cpu")
HEADER = "TRT-100300-EntropyCalibration2"


def net() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    constants = {name: random.normal(0, 1, (16, 16)).astype(np.float32) for name in ("w", "v")}
    nodes = [
        toys.node("MatMul", "x w", "m", name="first"),
        toys.node("Relu", "m", "r"),
        toys.node("MatMul", "r v", "y"),
    ]
    return toys.model(nodes, {"x": ["n", 16]}, {"y": ["n", 16]}, constants)


def test_layers_are_reported_in_graph_order_with_reasons():
    made = quantize(net(), Cache(HEADER, {"x": 0.1, "r": 0.1}), qdq=QdqOptions(exclude=("first",)))
    assert [(layer.name, layer.op, layer.reason) for layer in made.layers] == [
        ("first", "MatMul", "excluded by 'first'"),
        ("y", "MatMul", ""),
    ]
    assert dict(made.reasons) == {"excluded by 'first'": 1}


def test_a_layer_without_a_scale_stays_float():
    made = quantize(net(), Cache(HEADER, {"x": 0.1}))
    assert [bool(layer.reason) for layer in made.layers] == [False, True]
    assert "'r'" in made.layers[1].reason


def test_from_data_to_a_file_that_lints_and_runs(tmp_path):
    data = np.random.default_rng(1).normal(0, 1, (200, 16)).astype(np.float32)
    path = quantize(net(), data, CPU).save(tmp_path / "q.onnx")[0]
    assert [finding for finding in lint_model(path) if finding.level == "error"] == []
    fp32, int8 = (toys.run(model, {"x": data})[0] for model in (net(), onnx.load(path)))
    assert 0 < np.abs(fp32 - int8).max() < 0.1 * np.abs(fp32).max()


def test_nothing_to_quantize_is_an_error():
    with pytest.raises(ModelError, match="no layer"):
        quantize(net(), Cache(HEADER, {"x": 0.1, "r": 0.1}), qdq=QdqOptions(exclude=("MatMul",)))


def test_from_a_calibration_of_the_model():
    data = np.random.default_rng(1).normal(0, 1, (20, 16)).astype(np.float32)
    entropy = replace(CPU, method="entropy")
    calibration = calibrate(net(), data, CPU)
    made = quantize(net(), calibration)
    assert made.proto() == quantize(net(), data, entropy).proto()
    assert repr(made) == "<Quantization: 2 of 2 layers, scales from calibration>"
    other = net()
    other.graph.name = "another"
    with pytest.raises(StatisticsError, match="the calibration is of another model, one in memory"):
        quantize(other, calibration)
    twice = quantize(net(), data, entropy, transform=lambda stack: 2 * stack)
    assert twice.source.scales["x"] == pytest.approx(2 * made.source.scales["x"], rel=0.05)


def test_data_is_quantized_by_auto_and_statistics_by_entropy():
    class Heard(LoggingListener):
        said = ""

        def say(self, text):
            self.said += text + "\n"

    data = np.random.default_rng(1).normal(0, 1, (20, 16)).astype(np.float32)
    statistics = calibrate(net(), data, CPU).collection
    cache = calibrate(net(), data, CPU).cache()
    for source, options, same, words in (
        (data, CPU, replace(CPU, method="auto"), "method auto: the default"),
        (statistics, CPU, replace(CPU, method="entropy"), "method entropy: the default"),
        (cache, CPU, CPU, "taken as they are"),
        (data, replace(CPU, method="mse"), replace(CPU, method="mse"), ""),
    ):
        listener = Heard()
        made = quantize(net(), source, options, listener=listener)
        assert made.proto() == quantize(net(), source, same).proto()
        assert words in listener.said
        assert words or "the default" not in listener.said


@pytest.mark.parametrize("source", [None, "statistics"])
def test_evaluate_says_which_method_it_simulates(source):
    class Heard(LoggingListener):
        said = ""

        def say(self, text):
            self.said += text + "\n"

    data = np.random.default_rng(1).normal(0, 1, (20, 16)).astype(np.float32)
    given = source and calibrate(net(), data, CPU).collection
    listener = Heard()
    asked = evaluate(net(), data, EvaluationOptions(given, CPU), listener=listener)
    assert "simulating method entropy" in listener.said
    entropy = EvaluationOptions(given, replace(CPU, method="entropy"))
    listener = Heard()
    chosen = evaluate(net(), data, entropy, listener=listener)
    assert "simulating" not in listener.said
    assert asked.outputs == chosen.outputs


def test_layers_keep_their_names_in_float16():
    made = quantize(
        net(), Cache(HEADER, {"x": 0.1, "r": 0.1}), qdq=QdqOptions(exclude=("first",), high_precision="fp16")
    )
    assert [(layer.name, layer.op, bool(layer.reason)) for layer in made.layers] == [
        ("first", "MatMul", True),
        ("y", "MatMul", False),
    ]
