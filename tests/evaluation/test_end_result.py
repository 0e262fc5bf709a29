"""The look at the end result: what it finds, on which samples, and when it cannot look."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from helpers import fakes, toys
from helpers.compiler import Pattern, values
from helpers.small import CPU, RecordingListener, network
from helpers.small import samples as images

from onnx_trtcal import QdqOptions, calibrate, check_end_result, quantize, solve
from onnx_trtcal.counting.checkpoint import remove_checkpoints
from onnx_trtcal.data.batching import batches
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import CalibrationError, DataError, ModelError
from onnx_trtcal.evaluation import end_result
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from onnx_trtcal import EndResult
    from onnx_trtcal.calibration import Calibration

ROWS = list(fakes.samples(24))
HARD = replace(CPU, method="percentile:20")


def names(found: EndResult) -> list[str]:
    return [str(each.block) for each in found.blocks]


def kept(calibration: Calibration) -> list[bytes]:
    return [feeds["x"].tobytes() for feeds in calibration.kept]


def smallest(rows: list[np.ndarray], most: int = 8) -> list[bytes]:
    """The rows with the smallest content hashes, as the model is fed with them."""
    source = open_source(rows, (InputSpec("x", np.dtype(np.float32), ("batch", 32)),))
    hashed = [(batch.hashes[0], batch.feeds["x"].tobytes()) for batch in batches(source, 1)]
    return [feed for _, feed in sorted(hashed)[:most]]


class TestSamples:
    @pytest.mark.parametrize("batch_size", [1, 5, 24])
    def test_those_with_the_smallest_hashes_whatever_the_order_and_the_batches(self, batch_size: int) -> None:
        options = replace(CPU, batch_size=batch_size)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(ROWS))
            found = calibrate(fakes.perceptron(), [ROWS[at] for at in order], options)
            assert kept(found) == smallest(ROWS)
            assert check_end_result(found) == check_end_result(calibrate(fakes.perceptron(), ROWS, CPU))

    def test_the_same_however_far_the_float_model_runs_ahead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calibration = replace(calibrate(fakes.perceptron(), ROWS, HARD), kept_results=())
        found = check_end_result(calibration)
        assert found.samples > 4
        monkeypatch.setattr(end_result, "_MOST_AHEAD_BYTES", 0)
        assert check_end_result(calibration) == found

    @pytest.mark.parametrize("batch_size", [1, 5, 24])
    def test_the_same_whether_the_run_has_kept_what_the_float_model_makes(self, batch_size: int) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, replace(HARD, batch_size=batch_size))
        assert all(calibration.kept_results)
        some = [values if at % 2 else {} for at, values in enumerate(calibration.kept_results)]
        found = check_end_result(calibration)
        assert check_end_result(replace(calibration, kept_results=())) == found
        assert check_end_result(replace(calibration, kept_results=some)) == found

    def test_rows_that_the_data_decides_on_are_not_taken_for_samples(self) -> None:
        """As many rows as samples come out, and they are others'."""
        nodes = [
            toys.node("Reshape", "x rows", "r"),
            toys.node("ReduceMax", "r", "most", axes=[1], keepdims=0),
            toys.node("Greater", "most zero", "positive"),
            toys.node("Compress", "r positive", "some", axis=0),
            toys.node("MatMul", "some w", "y"),
        ]
        constants = {
            "rows": np.array([-1, 2]),
            "zero": np.float32(0),
            "w": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32),
        }
        model = toys.model(nodes, {"x": ["N", 4]}, ["y"], constants)
        signs = [(1, 1), (1, -1), (-1, -1), (-1, 1)] * 4
        rng = np.random.default_rng(1)
        rows = [np.repeat(sign, 2) * np.abs(rng.normal(size=4)).astype(np.float32) for sign in signs]
        calibration = calibrate(model, rows, replace(CPU, batch_size=4))
        assert not any(calibration.kept_results)

    def test_of_a_fixed_batch(self) -> None:
        fixed = fakes.perceptron()
        for value in (*fixed.graph.input, *fixed.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4
        calibration = calibrate(fixed, ROWS, CPU)
        assert not any(calibration.kept_results)
        assert check_end_result(calibration).blocks

    def test_the_float_model_is_not_run_for_what_the_run_has_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, CPU)
        opened = []

        class Counted(end_result.Session):
            def __init__(self, *args: Any, **options: Any) -> None:
                opened.append(options["float_qdq"])
                super().__init__(*args, **options)

        monkeypatch.setattr(end_result, "Session", Counted)
        assert check_end_result(calibration).samples == 4
        assert opened == [True]

    def test_an_interrupt_does_not_wait_for_all_that_would_run_ahead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calibration = replace(calibrate(fakes.perceptron(), ROWS, CPU), kept_results=())
        running, done = threading.Event(), []

        def run(_session: object, feeds: object, _sample: str) -> list[np.ndarray]:
            done.append(feeds)
            running.set()
            time.sleep(0.2)
            return [np.zeros((1, 8), np.float32)]

        def interrupted(*_: object) -> None:
            running.wait()
            raise KeyboardInterrupt

        monkeypatch.setattr(end_result.Session, "run", run)
        monkeypatch.setattr(end_result, "_simulated", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check_end_result(calibration)
        assert len(done) == 1

    def test_of_data_that_can_be_read_only_once(self) -> None:
        assert kept(calibrate(fakes.perceptron(), iter(ROWS), CPU)) == smallest(ROWS)

    @pytest.mark.parametrize("count", [0, 1, 3, 100])
    def test_as_many_as_asked_for(self, count: int) -> None:
        found = calibrate(fakes.perceptron(), ROWS, replace(CPU, check_samples=count))
        assert kept(found) == smallest(ROWS, count)

    def test_after_a_run_that_was_cut_off(self, tmp_path: Path) -> None:
        options = replace(CPU, batch_size=4, checkpoint_every=4)

        def cut() -> Iterator[np.ndarray]:
            yield from ROWS[:13]
            raise DataError("the disk is gone")

        with pytest.raises(DataError):
            calibrate(fakes.perceptron(), cut, options, checkpoint=tmp_path / "c")
        found = calibrate(fakes.perceptron(), lambda: iter(ROWS), options, checkpoint=tmp_path / "c")
        assert kept(found) == smallest(ROWS)
        remove_checkpoints(tmp_path / "c")

    def test_under_a_memory_limit_in_several_passes(self) -> None:
        found = calibrate(fakes.perceptron(), ROWS, replace(CPU, memory_limit=200))
        assert kept(found) == smallest(ROWS, 1)

    def test_only_those_that_were_counted(self) -> None:
        rows = list(fakes.samples(400))
        options = replace(CPU, batch_size=2, until_stable=0.9, method="minmax")
        found = calibrate(fakes.perceptron(), rows, options)
        counted = len(found.collection.samples)
        assert counted < len(rows) and kept(found) == smallest(rows[:counted]) != smallest(rows)

    def test_they_change_nothing_else(self) -> None:
        one, other = (calibrate(network(), images(9), replace(CPU, check_samples=count)) for count in (0, 8))
        assert one.provenance == other.provenance and one.cache() == other.cache()


class TestWhatItFinds:
    @pytest.mark.parametrize("method", ["minmax", "percentile:90", "percentile:20"])
    def test_the_error_of_the_network_written_out_in_numpy(self, method: str) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, replace(CPU, method=method))
        found = check_end_result(calibration)
        x = np.concatenate([feeds["x"] for feeds in calibration.kept][: found.samples])
        scales = {name: item.scale for name, item in calibration.scales.items()}
        wanted = fakes.sqnr(fakes.forward(x)["y"], fakes.forward(x, scales)["y"])
        (block,) = found.blocks
        assert str(block.block) == "y" and block.sqnr == pytest.approx(wanted, abs=0.05)

    def test_a_few_samples_are_enough_where_nothing_is_wrong(self) -> None:
        found = check_end_result(calibrate(fakes.perceptron(), ROWS, replace(CPU, method="minmax")))
        assert found.samples == 4 and found.lost == () and found.blocks[0].sqnr > end_result.FINE

    def test_all_of_them_run_where_something_is(self) -> None:
        found = check_end_result(calibrate(fakes.perceptron(), ROWS, HARD))
        assert found.samples == 8 and found.lost == found.blocks and found.blocks[0].sqnr < end_result.LEAST

    def test_the_worst_output_first(self) -> None:
        nodes = [
            toys.node("MatMul", "x w1", "good"),
            toys.node("Relu", "good", "r"),
            toys.node("MatMul", "r w2", "bad"),
        ]
        model = toys.model(nodes, {"x": ["n", 32]}, ["good", "bad"], fakes.weights())
        calibration = calibrate(model, ROWS, replace(CPU, method="minmax", method_for=("r=percentile:20",)))
        found = check_end_result(calibration)
        assert names(found) == ["bad", "good"]
        assert [each.block.name for each in found.lost] == ["bad"]

    def test_lost_scores_beside_boxes_that_are_fine(self) -> None:
        pattern = Pattern()
        pattern.op("Relu", "x", "f")
        pattern.conv("f", "b", 24, 4, kernel=1)
        pattern.op("Mul", ["b", pattern.store("stride", np.float32(400))], "boxes")
        pattern.conv("f", "g", 24, 24)
        pattern.op("Relu", "g", "h")
        pattern.conv("h", "s", 24, 8, kernel=1)
        pattern.op("Sigmoid", "s", "scores")
        pattern.op("Concat", "boxes scores", "y", axis=1)
        data = list(values(6, 24, 10, 14, spread=1.0))
        options = replace(CPU, method="minmax", method_for=("h=percentile:20",))
        found = check_end_result(calibrate(pattern.model("y"), data, options))
        assert [each.block.name for each in found.lost] == ["y[:, 4:12]"]
        assert names(found) == ["y[:, 4:12]", "y[:, 0:4]"] and found.blocks[1].sqnr > 20
        # Seen as one, the boxes would hide the scores.
        signal, noise = (sum(getattr(each, of) for each in found.blocks) for of in ("signal", "noise"))
        assert 10 * np.log10(signal / noise) > 20

    def test_a_qdq_model_is_looked_at_as_it_is(self) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, HARD)
        whole = check_end_result(quantize(fakes.perceptron(), calibration))
        assert whole.blocks[0].sqnr == pytest.approx(check_end_result(calibration).blocks[0].sqnr, abs=1e-6)
        spared = quantize(fakes.perceptron(), calibration, qdq=QdqOptions(exclude=("two", "three")))
        assert check_end_result(spared).blocks[0].sqnr > whole.blocks[0].sqnr + 1

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_qdq_model_from_data(self, precision: str) -> None:
        options = replace(CPU, method="minmax")
        made = quantize(fakes.perceptron(), ROWS, options, QdqOptions(high_precision=precision))
        assert check_end_result(made).lost == ()

    def test_what_no_int8_changes_is_exact(self) -> None:
        nodes = [toys.node("Softmax", "x", "kept", axis=1), toys.node("MatMul", "x w1", "y")]
        model = toys.model(nodes, {"x": ["n", 32]}, ["kept", "y"], {"w1": fakes.weights()["w1"]})
        found = check_end_result(calibrate(model, ROWS, CPU))
        assert names(found) == ["y", "kept"] and found.blocks[-1].sqnr == float("inf")

    def test_before_a_choice_the_scores_are_compared(self) -> None:
        nodes = [
            toys.node("MatMul", "x w1", "scores"),
            toys.node("TopK", "scores k", ["best", "places"], axis=1),
        ]
        constants = {"w1": fakes.weights()["w1"], "k": np.array([3])}
        model = toys.model(nodes, {"x": ["n", 32]}, ["best", "places"], constants, dtypes={"places": 7})
        found = check_end_result(calibrate(model, ROWS, CPU))
        assert names(found) == ["scores"]

    def test_a_scale_of_zero_leaves_its_readers_in_floating_point(self) -> None:
        nodes = [toys.node("Mul", "x zero", "flat"), toys.node("MatMul", "flat w1", "a")]
        nodes += [toys.node("MatMul", "x w1", "b"), toys.node("Add", "a b", "y")]
        constants = {"w1": fakes.weights()["w1"], "zero": np.float32(0)}
        model = toys.model(nodes, {"x": ["n", 32]}, ["y"], constants)
        for zero_scales in (False, True):
            calibration = calibrate(model, ROWS, replace(CPU, zero_scales=zero_scales))
            assert check_end_result(calibration).lost == ()

    def test_a_fixed_batch_and_folded_normalization(self) -> None:
        for batch in (3, "batch"):
            calibration = calibrate(network(batch), images(9), replace(CPU, method="minmax"))
            assert check_end_result(calibration).lost == ()

    def test_the_calibration_is_as_it_was(self, tmp_path: Path) -> None:
        calibration = calibrate(network(), images(9), CPU)
        calibration.write_folded(tmp_path / "before.onnx")
        check_end_result(calibration)
        calibration.write_folded(tmp_path / "after.onnx")
        assert (tmp_path / "before.onnx").read_bytes() == (tmp_path / "after.onnx").read_bytes()


class TestPartsThatDoNotRun:
    def plugin(self) -> onnx.ModelProto:
        nodes = [
            toys.node("MatMul", "x w1", "a"),
            toys.node("Relu", "a", "r"),
            toys.node("Unknown_TRT", "r", "p", domain="trt.plugins"),
            toys.node("Identity", "p", "y"),
        ]
        model = toys.model(nodes, {"x": ["n", 32]}, ["y"], {"w1": fakes.weights()["w1"]})
        model.opset_import.add(domain="trt.plugins", version=1)
        return model

    def test_in_front_of_a_plugin(self) -> None:
        model = self.plugin()
        calibration = calibrate(model, ROWS, replace(CPU, method="minmax"))
        for result in (calibration, quantize(model, calibration)):
            found = check_end_result(result)
            assert names(found) == ["r"] and found.lost == ()

    def test_a_double_model_in_float32(self) -> None:
        weight = fakes.weights()["w1"].astype(np.float64).reshape(24, 32, 1, 1)
        model = toys.model(
            [toys.node("Conv", "x w", "y")],
            {"x": ["n", 32, 2, 2]},
            ["y"],
            {"w": weight},
            dtypes={"x": 11, "y": 11},
        )
        data = [np.random.default_rng(seed).normal(size=(32, 2, 2)) for seed in range(6)]
        calibration = calibrate(model, data, replace(CPU, method="minmax"))
        assert check_end_result(calibration).lost == ()

    def test_a_bfloat16_model_in_float32(self) -> None:
        weight = fakes.weights()["w1"].astype(ml_dtypes.bfloat16)
        kinds = {"x": 16, "y": 16}
        model = toys.model(
            [toys.node("MatMul", "x w", "y")], {"x": ["n", 32]}, ["y"], {"w": weight}, dtypes=kinds
        )
        made = quantize(model, ROWS, replace(CPU, method="minmax"))
        assert check_end_result(made).lost == ()

    def test_up_to_the_tensor_that_was_asked_for(self) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, replace(CPU, until=("r1",)))
        for result in (calibration, quantize(fakes.perceptron(), calibration)):
            assert names(check_end_result(result)) == ["r1"]


class TestRefusals:
    def test_without_data(self) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, CPU)
        scales = {name: item.scale for name, item in calibration.scales.items()}
        for result in (
            solve(calibration.collection, fakes.perceptron()),
            quantize(fakes.perceptron(), fakes.cache(scales)),
            calibrate(fakes.perceptron(), ROWS, replace(CPU, check_samples=0)),
        ):
            with pytest.raises(DataError, match="no samples"):
                check_end_result(result)

    def test_without_a_layer(self) -> None:
        model = toys.model([toys.node("Relu", "x", "y")], {"x": ["n", 32]}, ["y"])
        with pytest.raises(ModelError, match="no layer of the model"):
            check_end_result(calibrate(model, ROWS, CPU))

    def test_where_memory_is_short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calibration = calibrate(fakes.perceptron(), ROWS, CPU)
        monkeypatch.setattr(end_result, "available_memory", lambda: 5000)
        with pytest.raises(CalibrationError, match="MiB are free"):
            check_end_result(calibration)
        monkeypatch.setattr(end_result, "available_memory", lambda: None)
        assert check_end_result(calibration).samples

    def test_where_the_outputs_do_not_fit_into_the_limit(self) -> None:
        nodes = [toys.node("MatMul", "x w1", "a"), toys.node("Tile", "a many", "y")]
        constants = {"w1": fakes.weights()["w1"], "many": np.array([1, 50])}
        model = toys.model(nodes, {"x": ["n", 32]}, ["y"], constants)
        calibration = calibrate(model, ROWS, replace(CPU, memory_limit=6000))
        with pytest.raises(CalibrationError, match="memory-limit"):
            check_end_result(calibration)

    def test_it_says_how_far_it_is(self) -> None:
        listener = RecordingListener()
        check_end_result(calibrate(fakes.perceptron(), ROWS, HARD), listener=listener)
        assert listener.counts == [1] * 8
