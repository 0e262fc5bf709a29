"""Outputs with as many rows as the values make them have, in evaluate and sensitivity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.picking import best_of, dynamic_classes, noise_of_sets, picking, stacks
from helpers.small import RecordingListener

from onnx_trtcal import (
    EvaluationOptions,
    Options,
    QdqOptions,
    SensitivityOptions,
    calibrate,
    evaluate,
    quantize,
    sensitivity,
)
from onnx_trtcal.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

CPU = Options(provider="cpu", method="minmax")
SMALL = QdqOptions(min_channels=1, gemv=True)
DATA = stacks(12)


def rows(model: onnx.ModelProto) -> list[int]:
    return [len(toys.run(model, {"x": sample}, ["y"])[0]) for sample in DATA]


@pytest.fixture(scope="module")
def edge() -> float:
    """A threshold at which INT8 picks more or fewer rows than FP32 in some samples, and not in others."""
    best = np.sort(np.concatenate([best_of(sample) for sample in DATA]))
    middles = (best[1:] + best[:-1]) / 2
    for threshold in middles[np.argsort(np.diff(best))]:
        model = picking(float(threshold))
        int8 = quantize(model, DATA, CPU, SMALL).proto()
        same = [one == other for one, other in zip(rows(model), rows(int8), strict=True)]
        if 0 < sum(same) < len(same):
            return float(threshold)
    raise AssertionError("no threshold tells the two apart")


class TestEvaluate:
    def test_compares_the_samples_with_as_many_rows_and_all_before_the_pick(self, edge: float) -> None:
        model = picking(edge)
        int8 = quantize(model, DATA, CPU, SMALL).proto()
        pairs = [[toys.run(each, {"x": s}, ["y"])[0] for each in (model, int8)] for s in DATA]
        alike = [(one, other) for one, other in pairs if one.shape == other.shape]
        result = evaluate(model, DATA, EvaluationOptions(DATA, CPU, SMALL))
        differing = result.differing["y"]
        assert differing.samples == len(pairs) - len(alike) > 0
        first = next((one, other) for one, other in pairs if one.shape != other.shape)
        assert (differing.fp32, differing.int8) == (first[0].shape, first[1].shape)
        (y,) = result.outputs
        signal = sum(float((one.astype(np.float64) ** 2).sum()) for one, _ in alike)
        noise = sum(float(((one.astype(np.float64) - other) ** 2).sum()) for one, other in alike)
        assert y.sqnr == pytest.approx(10 * np.log10(signal / noise), abs=0.05)
        pairs64 = [(one.astype(np.float64), other.astype(np.float64)) for one, other in pairs]
        all_signal = sum(float((one**2).sum()) for one, _ in pairs64)
        (block,) = result.blocks
        noise = sum(noise_of_sets(one, other) for one, other in pairs64)
        assert block.relative == pytest.approx(noise / all_signal, rel=0.02) and result.worst == block
        assert {"x", "scored", "all"} & {tensor.name for tensor in result.tensors}
        assert result.agreement is None and "scored" not in result.differing

    def test_a_metric_gets_both(self, edge: float, tmp_path: Path) -> None:
        (tmp_path / "m.py").write_text(
            "def count(outputs, labels):\n    return float(sum(len(each) for each in outputs['y']))\n"
        )
        model = picking(edge)
        int8 = quantize(model, DATA, CPU, SMALL).proto()
        request = EvaluationOptions(DATA, CPU, SMALL, metric=f"{tmp_path / 'm.py'}:count")
        merit = evaluate(model, DATA, request).metric["count"]
        assert (merit.fp32, merit.int8) == (sum(rows(model)), sum(rows(int8)))

    def test_samples_of_a_dynamic_batch_are_run_one_by_one(self, edge: float) -> None:
        listener = RecordingListener()
        plain = evaluate(picking(edge), DATA, EvaluationOptions(DATA, CPU, SMALL))
        batched = evaluate(
            picking(edge, batch="n"), DATA, EvaluationOptions(DATA, CPU, SMALL), listener=listener
        )
        assert batched.differing == plain.differing and batched.outputs == plain.outputs
        assert any("run one by one: the size of" in line for line in listener.said)

    def test_a_finished_model_is_compared_like_that_too(self, edge: float) -> None:
        model = picking(edge)
        int8 = quantize(model, DATA, CPU, SMALL).proto()
        plain = evaluate(model, DATA, EvaluationOptions(DATA, CPU, SMALL))
        given = evaluate(model, DATA, EvaluationOptions(options=CPU, quantized=int8))
        assert given.differing == plain.differing and given.outputs == plain.outputs

    def test_nothing_picked_is_nothing_to_compare(self) -> None:
        result = evaluate(picking(1e9), DATA, EvaluationOptions(stacks(4, seed=1), CPU, SMALL))
        assert set(result.empty) == {"picked", "kept", "y"} and result.missing == ("y",)
        assert not result.outputs and all(np.isfinite(t.sqnr) or t.name == "x" for t in result.tensors)

    def test_a_classifier_with_a_pick_inside_stays_one(self) -> None:
        data = [np.random.default_rng(i).standard_normal(32).astype(np.float32) for i in range(6)]
        result = evaluate(dynamic_classes(), data, EvaluationOptions(data, CPU, SMALL))
        assert result.classes == "y" and result.agreement is not None


class TestSensitivity:
    @pytest.mark.parametrize("first", [0, 5])
    def test_rows_are_no_classes_even_where_the_first_sample_has_one(self, first: int) -> None:
        best = [np.sort(best_of(sample)) for sample in DATA]
        order = [DATA[first], *(each for each in DATA if each is not DATA[first])]
        # One row of the first sample is above it, and some of the others.
        model = picking(float((best[first][-1] + best[first][-2]) / 2))
        result = sensitivity(model, order, SensitivityOptions(DATA, CPU, SMALL, worst=1))
        assert all(group.damage.agreement is None for group in result.ranked)
        assert {group.name for group in result.ranked} == {"scored", "hidden", "y"}
        assert np.isfinite(result.everything.sqnr)

    def test_rows_without_a_counterpart_count_as_lost(self, edge: float) -> None:
        listener = RecordingListener()
        request = SensitivityOptions(DATA, CPU, SMALL, worst=1)
        result = sensitivity(picking(edge), DATA, request, listener=listener)
        # Only the first layer can change what is picked; those behind it cannot.
        assert result.ranked[0].name == "scored"
        model = picking(edge)
        int8 = quantize(model, DATA, CPU, SMALL).proto()
        signal = noise = 0.0
        for sample in DATA:
            one, other = (
                toys.run(each, {"x": sample}, ["y"])[0].astype(np.float64) for each in (model, int8)
            )
            signal += float((one**2).sum())
            noise += noise_of_sets(one, other)
        assert result.everything.noise_to_signal == pytest.approx(noise / signal, rel=0.02)
        assert result.everything.worst is not None and result.everything.worst.block.name == "y"
        assert any("changes the size of output 'y'" in line for line in listener.warned)

    def test_says_when_there_is_nothing_to_rank_by(self) -> None:
        listener = RecordingListener()
        request = SensitivityOptions(stacks(4, seed=1), CPU, SMALL, worst=1)
        sensitivity(picking(1e9), DATA, request, listener=listener)
        assert any("no output holds a value" in line for line in listener.warned)

    def test_labels_without_classes_are_told(self, tmp_path: Path) -> None:
        np.save(tmp_path / "labels.npy", np.zeros(len(DATA), np.int64))
        listener = RecordingListener()
        request = SensitivityOptions(DATA, CPU, SMALL, tmp_path / "labels.npy", worst=1)
        sensitivity(picking(0.5), DATA, request, listener=listener)
        assert any("labels play no part" in line for line in listener.warned)


def test_rows_that_only_a_run_shows_are_not_classes_for_long() -> None:
    """Nothing in the graph says that axis 0 counts anything but samples; the second sample does."""
    weight = np.random.default_rng(0).standard_normal((16, 20)).astype(np.float32)
    model = toys.model(
        [toys.node("MatMul", "x w", "y")], {"x": ["time", 16]}, {"y": ["time", 20]}, {"w": weight}
    )
    data = [np.random.default_rng(n).standard_normal((n, 16)).astype(np.float32) for n in (1, 3, 2)]
    whole = replace(CPU, item_axis=("none",))
    result = evaluate(model, data, EvaluationOptions(data, whole, SMALL))
    assert (result.classes, result.agreement, result.samples) == (None, None, 3)
    ranked = sensitivity(model, data, SensitivityOptions(data, whole, SMALL, worst=1))
    assert ranked.everything.agreement is None
    with pytest.raises(OptionError, match="not one value per class"):
        evaluate(model, data, EvaluationOptions(data, whole, SMALL, output="y"))
    assert list(calibrate(model, data, CPU).scales) == ["x", "y", "w_output"]
