"""sensitivity(): a layer made bad on purpose comes first, and what it promises is what excluding gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.fakes import cache, forward, perceptron, samples, scales, weights

from onnx_trtcal import EvaluationOptions, Options, QdqOptions, SensitivityOptions, evaluate, sensitivity
from onnx_trtcal.errors import OptionError
from onnx_trtcal.evaluation import ranking

if TYPE_CHECKING:
    import onnx

CPU = Options(provider="cpu", batch_size=4)


@pytest.fixture(scope="module")
def data():
    return samples(10)


@pytest.mark.parametrize("leave_out", [False, True])
@pytest.mark.parametrize(("tensor", "layer"), [("x", "one"), ("r1", "two"), ("r2", "three")])
def test_the_bad_layer_comes_first(data, leave_out, tensor, layer):
    given = scales(data)
    bad = cache({**given, tensor: given[tensor] * 40})
    found = sensitivity(perceptron(), data, SensitivityOptions(bad, CPU, leave_out=leave_out, worst=1))
    assert found.ranked[0].name == layer
    assert {group.name for group in found.ranked} == {"one", "two", "three"}
    assert found.exclude == (layer,)
    assert (found.samples, found.left_out) == (10, leave_out)
    assert found.kept[0].damage.sqnr > found.everything.sqnr + 10


def test_what_it_promises_is_what_excluding_gives(data, tmp_path):
    given = cache(scales(data))
    np.save(tmp_path / "labels.npy", forward(data)["y"].argmax(1))
    labels = tmp_path / "labels.npy"
    found = sensitivity(perceptron(), data, SensitivityOptions(given, CPU, worst=2, labels=labels))
    assert found.fp32 == 1.0
    assert [kept.groups for kept in found.kept] == [1, 2]
    for count, damage in [(0, found.everything), *((kept.groups, kept.damage) for kept in found.kept)]:
        real = evaluate(
            perceptron(),
            data,
            EvaluationOptions(given, CPU, QdqOptions(exclude=found.exclude[:count]), labels=labels),
        )
        assert real.worst is not None and damage.sqnr == pytest.approx(real.worst.sqnr, abs=1e-3)
        assert (damage.agreement, damage.top1) == (real.agreement, real.scores["top-1"])


def test_alone_is_the_layer_alone(data):
    given = cache(scales(data))
    found = sensitivity(perceptron(), data, SensitivityOptions(given, CPU, worst=1))
    for group in found.ranked:
        others = tuple({"one", "two", "three"} - {group.name})
        real = evaluate(perceptron(), data, EvaluationOptions(given, CPU, QdqOptions(exclude=others)))
        assert group.damage.sqnr == pytest.approx(real.outputs[0].sqnr, abs=1e-3)


def test_the_layer_precisions_name_the_whole_group(data):
    given = scales(data)
    found = sensitivity(
        perceptron(), data, SensitivityOptions(cache({**given, "x": given["x"] * 40}), CPU, worst=1)
    )
    assert found.layer_precisions == "one:fp16,relu_one:fp16"


def test_a_node_named_like_an_op_type_is_excluded_by_its_output(data):
    model = perceptron()
    model.graph.node[0].name = "Gemm"
    given = scales(data)
    bad = cache({**given, "x": given["x"] * 40})
    found = sensitivity(model, data, SensitivityOptions(bad, CPU, worst=1))
    assert (found.ranked[0].name, found.exclude) == ("Gemm", ("g1",))
    real = evaluate(model, data, EvaluationOptions(bad, CPU, QdqOptions(exclude=found.exclude)))
    assert found.kept[0].damage.sqnr == pytest.approx(real.outputs[0].sqnr, abs=1e-3)


def test_an_unweighted_op_that_runs_in_int8_is_a_group_too():
    random = np.random.default_rng(0)
    constants = {"w": random.normal(0, 1, (16, 16, 1, 1)).astype(np.float32), "m": weights()["w1"][:16]}
    nodes = [
        toys.node("Conv", "x w", "c", name="conv"),
        toys.node("GlobalAveragePool", "c", "p", name="pool"),
        toys.node("Flatten", "p", "f", name="flat"),
        toys.node("Gemm", "f m", "y", name="fc"),
    ]
    model = toys.model(nodes, {"x": ["n", 16, 4, 4]}, {"y": ["n", 24]}, constants)
    x = random.normal(0, 1, (6, 16, 4, 4)).astype(np.float32)
    found = sensitivity(model, x, SensitivityOptions(options=CPU, worst=1))
    assert {group.name for group in found.ranked} >= {"conv", "fc", "pool"}


def inception() -> onnx.ModelProto:
    """A stem, a Conv behind it, and two Convs behind a MaxPool of it."""
    random = np.random.default_rng(0)
    constants = {f"w{i}": random.normal(0, 1, (16, 16, 1, 1)).astype(np.float32) for i in range(4)}
    nodes = [
        toys.node("Conv", "x w0", "a", name="stem"),
        toys.node("MaxPool", "a", "mp", name="pool", kernel_shape=[3, 3], pads=[1] * 4),
        toys.node("Conv", "a w1", "b1", name="beside"),
        toys.node("Conv", "mp w2", "b2", name="behind"),
        toys.node("Conv", "mp w3", "b3", name="behind_too"),
        toys.node("Concat", "b1 b2 b3", "y", axis=1),
    ]
    return toys.model(nodes, {"x": ["n", 16, 4, 4]}, {"y": ["n", 48, 4, 4]}, constants)


@pytest.mark.slow
def test_a_pair_that_a_pool_passes_on_counts_for_those_behind_it():
    model, x = inception(), np.random.default_rng(1).normal(0, 1, (6, 16, 4, 4)).astype(np.float32)
    found = sensitivity(model, x, SensitivityOptions(options=CPU, worst=3))
    names = {"stem", "beside", "behind", "behind_too"}
    assert {group.name for group in found.ranked} == names
    assert "pool" not in found.layer_precisions
    for group in found.ranked:
        alone = evaluate(model, x, EvaluationOptions(x, CPU, QdqOptions(exclude=tuple(names - {group.name}))))
        assert alone.worst is not None and group.damage.worst is not None
        assert group.damage.worst.block == alone.worst.block
        assert group.damage.sqnr == pytest.approx(alone.worst.sqnr, abs=1e-3)
    for count, damage in [(0, found.everything), *((kept.groups, kept.damage) for kept in found.kept)]:
        real = evaluate(model, x, EvaluationOptions(x, CPU, QdqOptions(exclude=found.exclude[:count])))
        assert real.worst is not None and damage.sqnr == pytest.approx(real.worst.sqnr, abs=1e-3)


def test_worst_must_be_a_number_of_groups(data):
    with pytest.raises(OptionError, match="worst is 0"):
        sensitivity(perceptron(), data, SensitivityOptions(options=CPU, worst=0))
    assert len(sensitivity(perceptron(), data, SensitivityOptions(options=CPU, worst=99)).kept) == 3


@pytest.mark.parametrize("kind", ["function", "class"])
def test_a_metric_is_that_of_evaluate(data, tmp_path, kind, monkeypatch):
    """A function gets all outputs at the end, and is given few variants at a time for that."""
    monkeypatch.setattr(ranking, "_MOST_KEPT", 2)
    (tmp_path / "m.py").write_text(METRICS)
    request = SensitivityOptions(cache(scales(data)), CPU, worst=2, metric=f"{tmp_path / 'm.py'}:{kind}")
    found = sensitivity(perceptron(), data, request)
    assert found.by == "spread"
    changes = [group.damage.change for group in found.ranked]
    assert changes == sorted(changes, reverse=True)
    for count, damage in [(0, found.everything), *((kept.groups, kept.damage) for kept in found.kept)]:
        excluded = QdqOptions(exclude=found.exclude[:count])
        asked = EvaluationOptions(request.source, CPU, excluded, metric=request.metric)
        real = evaluate(perceptron(), data, asked).metric["spread"]
        assert damage.metric["spread"].fp32 == pytest.approx(real.fp32, rel=1e-6)
        assert damage.metric["spread"].int8 == pytest.approx(real.int8, rel=1e-4)


METRICS = """
import numpy as np

def function(outputs, labels):
    assert outputs["y"].shape == (10, 7)
    return {"spread": float(outputs["y"].std())}

class class_:
    def __init__(self): self.rows = []
    def update(self, outputs, labels): self.rows += list(outputs["y"])
    def result(self): return {"spread": float(np.stack(self.rows).std())}

globals()["class"] = class_
"""
