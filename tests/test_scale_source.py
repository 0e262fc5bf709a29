"""Scales from data, statistics or a cache: told apart by content, and what a cache lacks is propagated or named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys

from onnx_trtcal import Options, calibrate, compare, quantize, solve
from onnx_trtcal.errors import CacheError, DataError, ModelError, StatisticsError
from onnx_trtcal.scale_source import find_scales, source_kind
from onnx_trtcal.stats import store
from onnx_trtcal.trt.cache import Cache, write_cache

if TYPE_CHECKING:
    import onnx

CPU = Options(provider="cpu")
HEADER = "TRT-100300-EntropyCalibration2"


def net() -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(0, 1, (16, 16, 1, 1)).astype(np.float32)
    nodes = [
        toys.node("Conv", "x w", "c"),
        toys.node("Relu", "c", "r"),
        toys.node("Flatten", "r", "f"),
        toys.node("Sigmoid", "f", "y"),
    ]
    return toys.model(nodes, {"x": ["n", 16, 2, 2]}, {"y": ["n", 64]}, {"w": weight})


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(1).normal(0, 1, (20, 16, 2, 2)).astype(np.float32)


def test_files_are_told_by_their_first_bytes(tmp_path, data):
    write_cache(tmp_path / "any.txt", Cache(HEADER, {"x": 1.0}))
    store.save_statistics(tmp_path / "any.bin", calibrate(net(), data, CPU).collection)
    np.save(tmp_path / "data.npy", data)
    kinds = {name: source_kind(tmp_path / name) for name in ("any.txt", "any.bin", "data.npy", "none")}
    assert kinds == {"any.txt": "cache", "any.bin": "statistics", "data.npy": "data", "none": "data"}


def test_data_statistics_and_cache_give_the_same_scales(tmp_path, data):
    calibration = calibrate(net(), data, CPU)
    write_cache(tmp_path / "a.cache", calibration.cache())
    store.save_statistics(tmp_path / "a.stats", calibration.collection)
    sources = (data, tmp_path / "a.stats", tmp_path / "a.cache", calibration.collection, calibration.cache())
    found = [find_scales(net(), source, CPU) for source in sources]
    assert all(dict(each.scales) == dict(found[0].scales) for each in found)
    assert [each.kind for each in found] == ["data", "statistics", "cache", "statistics", "cache"]


def test_statistics_solve_with_any_method(data):
    collection = calibrate(net(), data, CPU).collection
    found = find_scales(net(), collection, Options(method="minmax"))
    assert found.scales["x"] == float(np.float32(np.abs(data).max()) / np.float32(127))


def test_statistics_of_another_model_are_refused(data, tmp_path):
    store.save_statistics(tmp_path / "a.stats", calibrate(net(), data, CPU).collection)
    other = net()
    other.graph.node[3].op_type = "Tanh"
    with pytest.raises(StatisticsError, match="another model") as caught:
        find_scales(other, tmp_path / "a.stats", CPU)
    assert caught.value.where.endswith("a.stats")


def test_statistics_solve_with_ties_that_they_were_collected_without(data):
    nodes = [
        toys.node("Relu", "x", "r"),
        toys.node("Sigmoid", "x", "s"),
        toys.node("Concat", "r s", "j", axis=1),
        toys.node("Tanh", "j", "y"),
    ]
    model = toys.model(nodes, {"x": ["n", 16, 2, 2]}, {"y": ["n", 32, 2, 2]})
    collection = calibrate(model, data, CPU).collection
    tied = replace(CPU, tie_concat=True)
    # The tied Concat's output is not observed, and the statistics have it.
    assert "j" in collection.histograms
    assert solve(collection, model, tied).cache() == calibrate(model, data, tied).cache()
    assert "j" not in {row.tensor for row in compare(collection, model, ["mse"], tied)}
    with pytest.raises(StatisticsError, match="lack 1 tensors") as caught:
        solve(calibrate(model, data, tied).collection, model)
    assert "--tie-concat" in caught.value.fix


@pytest.mark.parametrize("verb", [solve, compare])
def test_a_calibration_is_not_its_statistics(verb, data):
    with pytest.raises(StatisticsError, match="this is Calibration") as caught:
        verb(calibrate(net(), data, CPU), net())
    assert "Calibration.collection" in caught.value.fix


def test_what_a_cache_lacks_is_propagated_or_missing():
    found = find_scales(
        net(), Cache(HEADER, {"x": 0.5, "r": 0.25, "(Unnamed Layer* 3) [Shuffle]_output": 1.0})
    )
    # c vanishes in the kernel that writes r, and f holds r's values; nothing is known of the Sigmoid's output.
    assert found.scales["c"] == found.scales["f"] == 0.25
    assert set(found.propagated) == {"c", "f"}
    assert found.missing == ("y",)
    assert found.foreign == ("(Unnamed Layer* 3) [Shuffle]_output",)


@pytest.mark.parametrize("scale", [float("inf"), float("nan"), -1.0])
def test_an_entry_that_is_no_number_counts_as_missing(scale):
    found = find_scales(net(), Cache(HEADER, {"x": scale, "r": 0.25, "y": 0.5}), CPU)
    assert found.unusable == found.missing == ("x",) and "x" not in found.scales
    # What holds the same values has the scale for it.
    found = find_scales(net(), Cache(HEADER, {"x": 0.125, "r": 0.25, "f": scale, "y": 0.5}), CPU)
    assert found.unusable == ("f",) and found.missing == () and found.scales["f"] == 0.25


def test_a_layer_whose_entry_is_no_number_stays_in_floating_point():
    nodes = [toys.node("Conv", "x w", "c", name="one"), toys.node("Conv", "c w", "y", name="two")]
    weight = np.ones((16, 16, 1, 1), np.float32)
    model = toys.model(nodes, {"x": ["n", 16, 2, 2]}, {"y": ["n", 16, 2, 2]}, {"w": weight})
    made = quantize(model, Cache(HEADER, {"x": float("inf"), "c": 0.25, "y": 0.5}))
    assert {layer.name: layer.reason for layer in made.layers} == {
        "one": "no scale for its input 'x'",
        "two": "",
    }


def test_a_model_that_is_quantized_already_is_refused_whatever_the_source(data):
    scales = Cache(HEADER, {"x": 0.5, "c": 0.25, "r": 0.25, "f": 0.25, "y": 0.125})
    made = quantize(net(), scales).proto()
    for source in (scales, data):
        with pytest.raises(ModelError, match="quantized already: it holds DequantizeLinear"):
            find_scales(made, source, CPU)
    allowed = find_scales(made, scales, replace(CPU, allow_quantized=True))
    assert allowed.scales["x"] == 0.5


def test_a_cache_of_another_model_is_refused():
    with pytest.raises(CacheError, match="none of the cache's 1 entries"):
        find_scales(net(), Cache(HEADER, {"elsewhere": 1.0}))


def test_a_path_that_is_not_there_is_told_as_data(tmp_path):
    with pytest.raises(DataError):
        find_scales(net(), tmp_path / "none.cache", CPU)


def test_statistics_that_end_early_are_refused_for_another_model_by_its_hash(data):
    cut = calibrate(net(), data, replace(CPU, until=("c",))).collection
    with pytest.raises(StatisticsError, match="collected from another model"):
        solve(cut, toys.model([toys.node("Relu", "x", "y")], {"x": ["n", 4]}, ["y"]), CPU)


def test_a_transform_that_fails_is_an_error_of_its_element(data):
    with pytest.raises(DataError, match="the transform failed: ZeroDivisionError"):
        calibrate(net(), list(data), CPU, transform=lambda sample: 1 / 0)
