"""What is decided about a model before data is read: once, and for everything behind it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, network, samples

from onnx_trtcal import calibrate
from onnx_trtcal.errors import ModelError, OptionError
from onnx_trtcal.graph.fold.fold import fold
from onnx_trtcal.graph.groups.group import find_groups
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.plan.plan import plan
from onnx_trtcal.graph.view import quantized_ops
from onnx_trtcal.methods.assign import assign_methods
from onnx_trtcal.prepared import check_not_quantized, fold_model, prepare
from onnx_trtcal.report.advice import overclipped
from onnx_trtcal.report.summary import warnings

if TYPE_CHECKING:
    from collections.abc import Callable


ONCE = (import_graph, fold, find_groups, plan, assign_methods)


@pytest.mark.parametrize("method", ["entropy", "mxnet", "auto", "easyquant"])
def test_a_calibration_decides_everything_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    calls: Counter[str] = Counter()

    def counting(plain: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            # Methods are also assigned to no tensors at all, to check their names before the model is loaded.
            calls[plain.__name__] += plain is not assign_methods or bool(args[1])
            return plain(*args, **kwargs)

        return counted

    # All that a calibration uses is imported before the functions are replaced wherever they are.
    wanted = calibrate(network(), samples(5), replace(CPU, method=method))
    modules = [module for name, module in sys.modules.items() if name.startswith("onnx_trtcal.")]
    for plain in ONCE:
        counted = counting(plain)
        for module in modules:
            if getattr(module, plain.__name__, None) is plain:
                monkeypatch.setattr(module, plain.__name__, counted)
    calibration = calibrate(network(), samples(5), replace(CPU, method=method))
    overclipped(calibration)
    warnings(calibration)
    assert calibration.scales == wanted.scales
    assert calls == {plain.__name__: 1 for plain in ONCE}


def test_the_groups_are_those_of_the_folded_graph_whatever_is_observed() -> None:
    for observe in ("fused", "all"):
        prepared = prepare(network(), replace(CPU, observe=observe))
        assert prepared.groups == find_groups(prepared.folded, prepared.model.shapes)
        assert (prepared.observed is prepared.folded) == (observe == "fused")
        assert [group.output for group in prepared.groups] == ["relu"]
        assert set(prepared.methods) == set(prepared.plan.observed)


def test_other_methods_for_the_same_plan() -> None:
    prepared = prepare(network(), CPU)
    other = prepared.with_options(replace(CPU, method="mse", method_for=("x=minmax",)))
    assert {name: str(method) for name, method in other.methods.items()} == {
        name: "minmax" if name == "x" else "mse" for name in prepared.plan.observed
    }
    assert other.plan is prepared.plan and other.options.method == "mse"
    with pytest.raises(OptionError, match="no observed tensor matches"):
        prepared.with_options(replace(CPU, method_for=("nowhere=mse",)))
    with pytest.raises(ValueError, match="observe"):
        prepared.with_options(replace(CPU, observe="all"))
    for change in ({"parser_names": "off"}, {"trt_version": "8.6"}):
        with pytest.raises(ValueError, match="parser_names"):
            prepared.with_options(replace(CPU, **change))
    assert prepared.with_options(replace(CPU, trt_version="10.7")).plan is prepared.plan


def test_a_quantized_model_is_told_by_its_ops() -> None:
    model = load(
        toys.model(
            [
                toys.node("QuantizeLinear", "x s z", "q"),
                toys.node("DequantizeLinear", "q s z", "d"),
                toys.node("Relu", "d", "y"),
            ],
            {"x": ["n", 4]},
            {"y": ["n", 4]},
            {"s": np.float32(0.1), "z": np.int8(0)},
        )
    )
    found = quantized_ops(fold_model(model).folded.nodes)
    assert found == ["DequantizeLinear", "QuantizeLinear"]
    with pytest.raises(ModelError, match="holds DequantizeLinear, QuantizeLinear") as refusal:
        check_not_quantized(found, model, CPU)
    assert refusal.value.where == "the model in memory"
    check_not_quantized(found, model, replace(CPU, allow_quantized=True))
    check_not_quantized(quantized_ops(fold_model(load(network())).folded.nodes), load(network()), CPU)
