from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.small import CPU, RecordingListener, network, samples, two_branches
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal import Options, calibrate
from onnx_trtcal.errors import DataError, ModelError, NonFiniteError, OptionError, StatisticsError
from onnx_trtcal.pipeline import calibrate_again, calibrate_for, check_options, solve
from onnx_trtcal.prepared import prepare
from onnx_trtcal.provenance import sidecar_bytes
from onnx_trtcal.trt.cache import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_trtcal.calibration import Calibration

AS_TENSORRT = replace(CPU, range="tensorrt")


def entries(calibration: Calibration) -> dict[str, str]:
    lines = dumps(calibration.cache()).decode().splitlines()[1:]
    return dict(line.rsplit(": ", 1) for line in lines)


def both_files(calibration: Calibration) -> tuple[bytes, bytes]:
    cache = dumps(calibration.cache())
    return cache, sidecar_bytes(calibration.provenance, cache)


class TestScalesThatTensorRTWrote:
    """Seeded draws and one-node networks; TensorRT's own caches hold these scales for them."""

    def test_convolution(self) -> None:  # TensorRT 7.0.0
        np.random.seed(97)  # noqa: NPY002 (the published script's generator)
        data = [np.random.rand(60).astype(np.float32).reshape(1, 3, 4, 5) for _ in range(10)]  # noqa: NPY002
        model = toys.model(
            [toys.node("Conv", "x w", "y", pads=[1, 1, 1, 1])],
            {"x": [1, 3, 4, 5]},
            ["y"],
            {"w": np.ones((2, 3, 3, 3), np.float32)},
        )
        got = entries(calibrate(model, data, AS_TENSORRT))
        assert got["x"] == "3c00e995"
        # The sum of 27 values in another order than the GPU's may differ in the last bit of the range.
        assert abs(int(got["y"], 16) - 0x3E0A9EAC) <= 1

    def test_identity(self) -> None:  # TensorRT 8.2.4
        np.random.seed(97)  # noqa: NPY002
        values = (np.random.rand(32).astype(np.float32) * 200 - 100)[:8]  # noqa: NPY002
        model = toys.model([toys.node("Identity", "x", "y")], {"x": [8]}, {"y": [8]})
        assert entries(calibrate(model, [values], AS_TENSORRT)) == {"x": "3f4014c9", "y": "3f4014c9"}

    def test_addition(self) -> None:  # TensorRT 10.0.1 and 10.6.0
        np.random.seed(31193)  # noqa: NPY002
        values = np.random.rand(48).astype(np.float32).reshape(1, 8, 2, 3) * 48 * 2 - 48  # noqa: NPY002
        model = toys.model(
            [toys.node("Add", "x one", "y")], {"x": [1, 8, 2, 3]}, ["y"], {"one": np.float32(1)}
        )
        assert entries(calibrate(model, [values], AS_TENSORRT)) == {
            "x": "3ebfcfb9",
            "y": "3ec3d80a",
            "one_output": "3c010204",
        }


class TestOneAnswer:
    DATA = samples(24)
    WANTED = both_files(calibrate(network(), DATA, replace(CPU, batch_size=1)))

    @pytest.mark.slow
    @settings(max_examples=12, deadline=None)
    @given(
        st.integers(1, 30),
        st.permutations(range(24)),
        st.sampled_from([None, 1, 3]),
        st.sampled_from([None, 200, 900, 5000]),
    )
    def test_whatever_the_batches_the_order_the_threads_and_the_memory(
        self, batch_size: int, order: list[int], threads: int | None, memory_limit: int | None
    ) -> None:
        options = replace(CPU, batch_size=batch_size, threads=threads, memory_limit=memory_limit)
        calibration = calibrate(network(), [self.DATA[index] for index in order], options)
        assert both_files(calibration) == self.WANTED

    def test_rows_that_fill_up_a_fixed_batch_are_not_counted(self) -> None:
        padded = calibrate(network(7), self.DATA, CPU)
        free = calibrate(network(), self.DATA, CPU)
        assert padded.collection.histograms == free.collection.histograms
        assert padded.collection.histograms["x"].total == 24 * 2 * 4 * 4
        assert padded.scales == free.scales

    def test_differs_where_the_data_differ(self) -> None:
        other = calibrate(network(), [*self.DATA[:-1], self.DATA[-1] * 2], CPU)
        assert both_files(other) != self.WANTED


def test_every_float_tensor_of_the_model_has_a_scale() -> None:
    calibration = calibrate(network(), samples(4), CPU)
    assert list(calibration.scales) == ["x", "conv", "bn", "relu", "pool", "y", "node_of_y_output"]
    how = {name: (item.source, item.reason) for name, item in calibration.scales.items()}
    assert how["x"] == ("x", "measured") and how["relu"] == ("relu", "measured")
    assert how["conv"][0] == how["bn"][0] == "relu"
    assert how["pool"] == ("relu", "pool") and how["node_of_y_output"] == ("y", "alias")


def test_measures_what_the_model_computes() -> None:
    data = samples(5)
    calibration = calibrate(network(), data, replace(CPU, observe="all", method="minmax"))
    names = list(calibration.collection.histograms)
    assert {"x", "conv", "bn", "relu", "y"} <= set(names)
    model = onnx.ModelProto()
    model.CopyFrom(network())
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("conv", "bn", "relu", "y"))
    computed = dict(zip(("conv", "bn", "relu", "y"), toys.run(model, {"x": np.stack(data)}), strict=True))
    for name, array in computed.items():
        assert calibration.scales[name].amax == np.abs(array).max()
        assert calibration.scales[name].scale == np.float32(np.abs(array).max() / np.float32(127))


def test_all_zero_tensors_get_a_harmless_scale_or_tensorrts() -> None:
    zeros = [np.zeros((2, 4, 4), np.float32)]
    assert entries(calibrate(network(), zeros, CPU))["x"] == "3c010204"
    assert entries(calibrate(network(), zeros, replace(CPU, zero_scales=True)))["x"] == "0"


def test_the_second_pass_of_a_signed_method_sees_the_same_data() -> None:
    data = samples(6)
    calibration = calibrate(network(), data, replace(CPU, method_for=("x=mxnet",)))
    from onnx_trtcal.methods.mxnet import SignedHistogram, solve

    histogram = SignedHistogram(float(np.abs(np.stack(data)).max()))
    histogram.add(np.stack(data))
    assert calibration.thresholds["x"] == np.float32(solve(histogram))


def test_the_second_pass_stops_where_the_first_did() -> None:
    still = [np.full((2, 4, 4), 1 + number % 3, np.float32) for number in range(90)]
    options = replace(CPU, method_for=("x=mxnet",), until_stable=0.01)
    loud_end = [*still[:64], *(array * 100 for array in still[64:])]
    stopped = calibrate(network(), loud_end, options)
    assert len(stopped.collection.samples) == 64
    assert stopped.thresholds == calibrate(network(), still[:64], options).thresholds


class TestNonFinite:
    DATA = (*samples(3), np.full((2, 4, 4), np.nan, np.float32), np.full((2, 4, 4), np.inf, np.float32))

    def test_is_refused_with_tensor_count_and_sample(self) -> None:
        with pytest.raises(NonFiniteError) as refusal:
            calibrate(network(), self.DATA, replace(CPU, batch_size=5))
        assert "'x': 32 NaN, 32 Inf, first in sample " in refusal.value.details[0]
        assert "--allow-nonfinite" in refusal.value.fix
        first = refusal.value.details[0].split("'x': 32 NaN, 32 Inf, first in sample ")[1]
        assert "3" in first and "4" not in first

    def test_is_left_out_when_allowed(self) -> None:
        allowed = calibrate(network(), self.DATA, replace(CPU, allow_nonfinite=True))
        clean = calibrate(network(), self.DATA[:3], CPU)
        assert allowed.scales["x"] == clean.scales["x"]
        assert allowed.collection.histograms["x"].total == 3 * 32

    def test_many_tensors_are_named_up_to_twenty(self) -> None:
        names = [f"t{number}" for number in range(26)]
        pairs = itertools.pairwise(["x", *names])
        chain = toys.model([toys.node("Exp", a, b) for a, b in pairs], {"x": ["n", 4]}, {names[-1]: ["n", 4]})
        with pytest.raises(NonFiniteError, match=r"… and \d more"):
            calibrate(chain, [np.full((4,), 5, np.float32)], CPU)


class TestRefusals:
    def test_options_are_checked_before_the_model_is_touched(self) -> None:
        with pytest.raises(OptionError, match="entropi"):
            calibrate("no such file.onnx", [], Options(method="entropi"))
        with pytest.raises(OptionError, match="11"):
            check_options(Options(trt_version="11.0"))
        with pytest.raises(OptionError):
            check_options(Options(method_for=("x=",)))

    def test_a_quantized_model(self) -> None:
        model = toys.model(
            [
                toys.node("QuantizeLinear", "x s z", "q"),
                toys.node("DequantizeLinear", "q s z", "d"),
                toys.node("Relu", "d", "y"),
            ],
            {"x": ["n", 4]},
            {"y": ["n", 4]},
            {"s": np.float32(0.1), "z": np.int8(0)},
        )
        with pytest.raises(ModelError, match="quantized already") as refusal:
            prepare(model, CPU)
        assert "dequantize" in refusal.value.fix and "--allow-quantized" in refusal.value.fix
        assert prepare(model, replace(CPU, allow_quantized=True)).plan.observed == ("y",)

    def test_a_model_without_float_tensors(self) -> None:
        integers = {"x": onnx.TensorProto.INT64, "y": onnx.TensorProto.INT64}
        model = toys.model([toys.node("Abs", "x", "y")], {"x": ["n"]}, {"y": ["n"]}, dtypes=integers)
        with pytest.raises(ModelError, match="no float tensor"):
            prepare(model, CPU)

    def test_a_pattern_that_matches_nothing(self) -> None:
        with pytest.raises(OptionError, match="no observed tensor matches"):
            calibrate(network(), samples(1), replace(CPU, method_for=("Sofmax=minmax",)))


class TestSolve:
    def test_is_a_function_of_the_statistics(self) -> None:
        first = calibrate(network(), samples(9), CPU)
        again = solve(first.prepared.with_options(replace(CPU, method="percentile:99")), first.collection)
        straight = calibrate(network(), samples(9), replace(CPU, method="percentile:99"))
        assert both_files(again) == both_files(straight)

    def test_tied_branches_of_a_concat_share_one_histogram(self) -> None:
        model = two_branches()
        data = [array.reshape(-1)[:4] for array in samples(8)]
        tied = calibrate(model, data, replace(CPU, tie_concat=True))
        assert tied.scales["a"].scale == tied.scales["b"].scale == tied.scales["c"].scale
        with pytest.raises(OptionError, match="--range tensorrt"):
            calibrate(model, data, replace(AS_TENSORRT, tie_concat=True))
        alone = calibrate(model, data, CPU)
        assert alone.scales["a"].scale != alone.scales["b"].scale
        twice = calibrate(model, data, replace(CPU, tie_concat=True, method="mxnet"))
        assert twice.scales["a"].scale == twice.scales["b"].scale == twice.scales["c"].scale
        with pytest.raises(OptionError, match="share a scale"):
            calibrate(model, data, replace(CPU, tie_concat=True, method_for=("a=minmax",)))

    def test_a_signed_method_needs_its_second_pass(self) -> None:
        first = calibrate(network(), samples(2), CPU)
        with pytest.raises(StatisticsError, match="mxnet"):
            solve(first.prepared.with_options(replace(CPU, method="mxnet")), first.collection)


def test_tells_what_it_does() -> None:
    listener = RecordingListener()
    calibrate(network(), samples(10), replace(CPU, batch_size=4), listener=listener)
    assert listener.said[0] == "1 BatchNorm folded; 1 fused group; 3 tensors to observe for 7 scales"
    assert "execution provider: CPU (as asked)" in listener.said
    assert [count for count in listener.counts if count] == [4, 4, 2]


def test_data_that_goes_by_once_is_refused_for_a_method_of_two_passes() -> None:
    read = []

    def once() -> Iterator[np.ndarray]:
        for sample in samples(4):
            read.append(1)
            yield sample

    with pytest.raises(DataError, match="reads the data twice"):
        calibrate(network(), once(), replace(CPU, method_for=("x=mxnet",)))
    assert not read, "refused before anything was read"


@pytest.mark.parametrize(("method", "warned"), [("mse", True), ("auto", False)])
def test_a_budget_without_auto_is_warned_of(method: str, warned: bool) -> None:
    listener = RecordingListener()
    calibrate(network(), samples(4), replace(CPU, method=method, budget=60.0), listener=listener)
    assert any("--budget" in text for text in listener.warned) is warned


@pytest.mark.parametrize("method", ["percentile:99.9", "mxnet", "auto", "easyquant"])
def test_another_method_from_what_was_counted_is_that_method(method: str) -> None:
    listener = RecordingListener()
    data, options = samples(12), replace(CPU, method="mse", max_samples=9)
    counted = calibrate_for(network(), data, options, listener)
    other = replace(options, method=method)
    again, anew = (
        calibrate_again(counted, data, other, listener),
        calibrate_for(network(), data, other, listener),
    )
    assert again.scales == anew.scales
    assert again.options == anew.options
    assert again.weight_scales.keys() == anew.weight_scales.keys()
    assert all(np.array_equal(again.weight_scales[name], each) for name, each in anew.weight_scales.items())
    assert (again.feeding, again.seen_shapes) == (anew.feeding, anew.seen_shapes)
    assert len(again.kept) == len(anew.kept) > 0
