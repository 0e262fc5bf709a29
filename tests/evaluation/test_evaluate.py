"""evaluate(): its numbers are those of quantization by the definition, written out in NumPy."""

from __future__ import annotations

import dataclasses
import math
import weakref

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.fakes import cache, forward, perceptron, samples, scales, sqnr, weights

from onnx_trtcal import EvaluationOptions, Options, QdqOptions, evaluate, quantize
from onnx_trtcal.counting.trial import TRIAL
from onnx_trtcal.errors import DataError, ModelError, OptionError
from onnx_trtcal.run.session import Session

CPU = Options(provider="cpu", batch_size=4)


@pytest.fixture(scope="module")
def data():
    return samples(10)


@pytest.fixture(scope="module")
def given(data):
    return scales(data)


@pytest.fixture(scope="module")
def found(data, given):
    return evaluate(perceptron(), data, EvaluationOptions(cache(given), CPU))


def test_every_number_is_that_of_numpy(found, data, given):
    fp32, int8 = forward(data), forward(data, given)
    assert [tensor.name for tensor in found.tensors] == ["x", "r1", "r2", "y"]
    for tensor in found.tensors[1:]:
        expected, got = fp32[tensor.name], int8[tensor.name]
        assert tensor.sqnr == pytest.approx(sqnr(expected, got), abs=0.01)
        assert tensor.max_error == pytest.approx(np.abs(expected - got).max(), rel=1e-3)
        norms = np.linalg.norm(expected) * np.linalg.norm(got)
        assert tensor.cosine == pytest.approx(float((expected * got).sum() / norms), abs=1e-6)
    assert found.outputs[0].sqnr == found.tensors[-1].sqnr
    same = (fp32["y"].argmax(1) == int8["y"].argmax(1)).mean()
    assert (found.samples, found.classes, found.agreement) == (10, "y", same)


def test_as_read_is_behind_the_tensor_s_own_pair(found, data, given):
    from helpers.fakes import fake_quantize

    image = found.tensors[0]
    assert image.sqnr == math.inf
    assert image.read_sqnr == pytest.approx(sqnr(data, fake_quantize(data, given["x"])), abs=1e-3)
    assert found.tensors[-1].read_sqnr is None


def test_where_error_appears_and_grows(found, data, given):
    assert found.first is not None and found.first.name == "r1"
    # Nothing is lost on the way to r1: it is the first; each later tensor is measured against the one before.
    assert [tensor.above for tensor in found.tensors] == [
        math.inf,
        math.inf,
        *(t.sqnr for t in found.tensors[1:3]),
    ]
    bad = evaluate(perceptron(), data, EvaluationOptions(cache({**given, "r2": given["r2"] * 30}), CPU))
    assert bad.grows()[0].name == "y"
    assert bad.grows()[0].lost == pytest.approx(bad.tensors[2].sqnr - bad.tensors[3].sqnr)


def test_batches_do_not_show(data, given, found):
    whole = evaluate(
        perceptron(), data, EvaluationOptions(cache(given), dataclasses.replace(CPU, batch_size=10))
    )
    for one, other in zip(whole.tensors, found.tensors, strict=True):
        # ONNX Runtime's own sums may differ in the last bit between batch sizes.
        assert one.sqnr == pytest.approx(other.sqnr, abs=1e-3)


def test_one_batch_of_activations_is_alive_at_a_time(data, given, monkeypatch):
    alive: list[weakref.ref] = []

    class Watched(Session):
        def run(self, feeds, sample):
            # The second model runs the same batch while the first one's activations are there.
            if sample == TRIAL:
                return super().run(feeds, sample)
            if sample not in seen:
                assert not any(ref() is not None for ref in alive)
            seen.add(sample)
            arrays = super().run(feeds, sample)
            alive.extend(map(weakref.ref, arrays))
            return arrays

    seen: set[str] = set()
    monkeypatch.setattr("onnx_trtcal.evaluation.paired_run.Session", Watched)
    evaluate(perceptron(), data, EvaluationOptions(cache(given), dataclasses.replace(CPU, batch_size=2)))
    assert len(seen) == 5 and len(alive) > 20


def test_twice_is_the_same_to_the_bit(data, given, found):
    assert evaluate(perceptron(), data, EvaluationOptions(cache(given), CPU)) == found


def test_accuracy_with_labels(data, given, tmp_path):
    np.save(tmp_path / "labels.npy", forward(data)["y"].argmax(1))
    found = evaluate(perceptron(), data, EvaluationOptions(cache(given), CPU, labels=tmp_path / "labels.npy"))
    assert found.scores["top-1"].fp32 == 1.0
    assert found.scores["top-1"].int8 == found.agreement
    assert found.scores["top-5"].fp32 == 1.0


def test_a_fixed_batch_is_filled_up_but_not_counted(data, given, tmp_path):
    model = perceptron()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 8
    np.save(tmp_path / "labels.npy", np.zeros(10, np.int64))
    found = evaluate(model, data, EvaluationOptions(cache(given), CPU, labels=tmp_path / "labels.npy"))
    assert found.samples == 10
    assert found.outputs[0].sqnr == pytest.approx(
        sqnr(forward(data)["y"], forward(data, given)["y"]), abs=0.01
    )


def test_a_metric_sees_both_models(data, given, tmp_path):
    (tmp_path / "m.py").write_text("def top(outputs, labels):\n    return outputs['y'].max()\n")
    found = evaluate(
        perceptron(), data, EvaluationOptions(cache(given), CPU, metric=f"{tmp_path / 'm.py'}:top")
    )
    assert found.metric["top"].fp32 == pytest.approx(forward(data)["y"].max(), rel=1e-5)
    assert found.metric["top"].int8 == pytest.approx(forward(data, given)["y"].max(), rel=1e-3)


@pytest.mark.parametrize("options", [QdqOptions(), QdqOptions(weights="float"), QdqOptions(exclude=("two",))])
def test_a_finished_model_gives_the_same(data, given, options, tmp_path):
    path = quantize(perceptron(), cache(given), qdq=options).save(tmp_path / "q.onnx")[0]
    from_file = evaluate(perceptron(), data, EvaluationOptions(options=CPU, quantized=path))
    assert from_file == evaluate(perceptron(), data, EvaluationOptions(cache(given), CPU, options))


def test_integer_outputs_are_compared_for_equality(data, given):
    model = perceptron()
    model.graph.node.append(toys.node("ArgMax", "y", "id", axis=1, keepdims=0))
    model.graph.output.append(onnx.helper.make_tensor_value_info("id", onnx.TensorProto.INT64, ["batch"]))
    found = evaluate(model, data, EvaluationOptions(cache(given), CPU))
    assert found.equal == {"id": found.agreement}


def test_uint8_activations_of_another_tool_are_taken_as_they_are(data):
    scale, zero = np.float32(0.05), np.uint8(128)
    nodes = [
        toys.node("QuantizeLinear", "x s z", "q"),
        toys.node("DequantizeLinear", "q s z", "d"),
        toys.node("Gemm", "d w1 b1", "y"),
    ]
    constants = {"s": scale, "z": zero, "w1": weights()["w1"], "b1": weights()["b1"]}
    theirs = toys.model(nodes, {"x": ["n", 32]}, {"y": ["n", 24]}, constants)
    ours = toys.model([toys.node("Gemm", "x w1 b1", "y")], {"x": ["n", 32]}, {"y": ["n", 24]}, constants)
    found = evaluate(ours, data, EvaluationOptions(options=CPU, quantized=theirs))
    read = (np.clip(np.rint(data / scale) + 128, 0, 255) - 128) * scale
    assert found.tensors[0].read_sqnr == pytest.approx(sqnr(data, read), abs=1e-3)
    y = [x @ constants["w1"] + constants["b1"] for x in (data, read)]
    assert found.outputs[0].sqnr == pytest.approx(sqnr(*y), abs=0.01)


def test_models_that_do_not_belong_together(data):
    other = toys.model([toys.node("Relu", "a", "b")], {"a": ["n", 32]}, {"b": ["n", 32]})
    with pytest.raises(ModelError, match="no input 'x'"):
        evaluate(perceptron(), data, EvaluationOptions(options=CPU, quantized=other))


@pytest.mark.parametrize(
    ("inputs", "outputs", "dtypes", "said"),
    [
        (
            {"x": ["n", 32, 1]},
            {"y": None},
            {},
            r"input 'x' is float \(n, 32, 1\) in the .* float \(batch, 32\) in",
        ),
        ({"x": ["n", 16]}, {"y": None}, {}, r"input 'x' is float \(n, 16\)"),
        ({"x": ["n", 32]}, {"y": ["n", 32]}, {"x": 10, "y": 10}, r"input 'x' is float16"),
        (
            {"x": ["n", 32]},
            {"y": ["n", 32]},
            {},
            r"output 'y' is float \(n, 32\) in the .* float \(batch, 7\)",
        ),
    ],
)
def test_models_whose_inputs_or_outputs_differ(data, inputs, outputs, dtypes, said):
    other = toys.model([toys.node("Relu", "x", "y")], inputs, outputs, dtypes=dtypes)
    with pytest.raises(ModelError, match=said):
        evaluate(perceptron(), data, EvaluationOptions(options=CPU, quantized=other))


def test_names_of_axes_and_the_precision_of_outputs_may_differ(data, given):
    theirs = quantize(perceptron(), cache(given)).proto()
    theirs.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    theirs.graph.node.append(toys.node("Cast", "y", "half", to=onnx.TensorProto.FLOAT16))
    for node in theirs.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"y": "z", "half": "y"}.get(name, name) for name in names]
    theirs.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    found = evaluate(perceptron(), data, EvaluationOptions(options=CPU, quantized=theirs))
    assert 20 < found.outputs[0].sqnr < 60


def test_a_quantized_model_is_no_reference(data, given):
    with pytest.raises(ModelError, match="quantized itself"):
        evaluate(
            quantize(perceptron(), cache(given)).proto(),
            data,
            EvaluationOptions(options=CPU, quantized=perceptron()),
        )


def test_labels_without_classes_and_outputs_that_are_not_there(data, given, tmp_path):
    np.save(tmp_path / "labels.npy", np.full(10, 9))
    with pytest.raises(DataError, match="not a class from 0 to 6"):
        evaluate(perceptron(), data, EvaluationOptions(cache(given), CPU, labels=tmp_path / "labels.npy"))
    with pytest.raises(OptionError, match="no output 'Y'"):
        evaluate(perceptron(), data, EvaluationOptions(cache(given), CPU, output="Y"))
    nodes = [toys.node("Gemm", "x w1 b1", "g"), toys.node("Reshape", "g s", "y")]
    constants = {"w1": weights()["w1"], "b1": weights()["b1"], "s": np.array([-1, 4, 6])}
    grid = toys.model(nodes, {"x": ["n", 32]}, {"y": ["n", 4, 6]}, constants)
    with pytest.raises(OptionError, match="no output of the model has one value per class"):
        evaluate(grid, data, EvaluationOptions(data, CPU, labels=tmp_path / "labels.npy"))
    assert evaluate(grid, data, EvaluationOptions(data, CPU)).agreement is None
