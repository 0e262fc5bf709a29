from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.picking import picking, stacks
from helpers.small import CPU, network, samples

from onnx_trtcal import calibrate
from onnx_trtcal.counting.convergence import Movement
from onnx_trtcal.report.summary import (
    colon_warning,
    counted,
    covered_line,
    hardest_clips,
    next_command,
    settled_line,
    unseen_shapes,
    warnings,
)

if TYPE_CHECKING:
    from onnx_trtcal.calibration import Calibration


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(network(), samples(100), replace(CPU, method="percentile:90", method_for=("y=minmax",)))


def unary(name: str, data: list[np.ndarray], **options: object) -> Calibration:
    model = toys.model([toys.node("Relu", [name], "y")], {name: ["n", 4]}, {"y": ["n", 4]})
    return calibrate(model, data, replace(CPU, **options))


def test_counts_tensors_by_how_they_got_their_scale(calibration: Calibration) -> None:
    assert sum(counted(calibration).values()) == len(calibration.scales) == 7
    line = covered_line(calibration)
    assert line.startswith("7 tensors have a scale: 3 measured, ") and "1 MaxPool output" in line


def test_says_what_has_no_scale() -> None:
    model = toys.model(
        [toys.node("Relu", "x", "y"), toys.node("ArgMax", "y", "best")],
        {"x": ["n", 4]},
        {"y": ["n", 4], "best": ["n", 4]},
        dtypes={"best": onnx.TensorProto.INT64},
    )
    line = covered_line(calibrate(model, [np.ones(4, np.float32)], CPU))
    assert line == "2 tensors have a scale: 2 measured; without one: 1 integer"


def test_hardest_clips_first_and_nothing_that_is_kept_whole(calibration: Calibration) -> None:
    clips = hardest_clips(calibration)
    assert [clip.tensor for clip in clips] == sorted(
        ("x", "relu"), key=lambda t: calibration.thresholds[t] / calibration.scales[t].amax
    )
    for clip in clips:
        assert clip.ratio == clip.threshold / clip.amax < 1 and clip.method == "percentile:90.0"
        assert clip.score.clipped == pytest.approx(0.1, rel=0.02)
    assert len(hardest_clips(calibration, most=1)) == 1


@pytest.mark.parametrize(("most", "verdict"), [(0.0, "settled"), (0.02, "settled"), (0.021, "more data")])
def test_says_whether_more_data_would_help(most: float, verdict: str) -> None:
    line = settled_line(Movement(most, "t", 25, 100))
    assert verdict in line and f"{most:.1%} at most over the last 25 of 100 samples" in line


def test_the_bound_that_was_asked_for_is_what_settled_means() -> None:
    movement = Movement(0.015, "t", 25, 100)
    assert "settled" in settled_line(movement) and "more data" in settled_line(movement, 0.01)
    assert "settled" in settled_line(Movement(0.04, "t", 25, 100), 0.05)


class TestWarnings:
    def test_of_a_clipped_input(self, calibration: Calibration) -> None:
        (said,) = [text for text in warnings(calibration) if "input 'x' is clipped" in text]
        assert shlex.split(said)[-2:] == ["--method-for", "x=minmax"]
        assert not warnings(calibrate(network(), samples(100), replace(CPU, method="minmax")))

    @pytest.mark.parametrize(("share", "said"), [(1 / 250, True), (1 / 260, False)])
    def test_of_an_input_clipped_by_half_a_step_or_more(
        self, calibration: Calibration, share: float, said: bool
    ) -> None:
        scale = calibration.scales["x"]
        changed = {**calibration.scales, "x": replace(scale, threshold=scale.amax / (1 + share))}
        texts = warnings(replace(calibration, scales=changed))
        assert any("input 'x' is clipped" in text for text in texts) == said

    def test_of_too_few_values(self) -> None:
        (said,) = warnings(unary("x", [np.ones(4, np.float32)]))
        assert "tensors 'x', 'y': fewer than 2048 values" in said

    def test_of_zeros(self) -> None:
        zeros = [np.zeros((1000, 4), np.float32)]
        (said,) = warnings(unary("x", zeros))
        assert said == "tensors 'x', 'y': only zeros were seen; written as the scale of [-1, 1]"
        (said,) = warnings(unary("x", zeros, zero_scales=True))
        assert "written as 0, as TensorRT does" in said

    @pytest.mark.parametrize(
        ("zero_scales", "written"), [(False, "the scale of [-1, 1]"), (True, "0, as TensorRT")]
    )
    def test_of_what_was_never_seen(self, zero_scales: bool, written: str) -> None:
        said = warnings(calibrate(picking(1e9), stacks(200), replace(CPU, zero_scales=zero_scales)))
        (text,) = [each for each in said if "'picked'" in each]
        assert text.startswith("tensors 'picked', 'hidden', 'kept', 'y': no finite value in any sample")
        assert f"written as {written}" in text and "only zeros" not in " ".join(said)

    def test_of_nothing_but_nan(self) -> None:
        data = [np.full((1000, 4), np.nan, np.float32)]
        said = warnings(unary("x", data, allow_nonfinite=True))
        assert any(text.startswith("tensors 'x', 'y': no finite value") for text in said)
        assert not any("only zeros" in text for text in said)

    def test_of_values_left_out(self) -> None:
        data = np.ones((1000, 4), np.float32)
        data[0] = [np.nan, np.inf, -np.inf, 1]
        said = warnings(unary("x", [data], allow_nonfinite=True, method="minmax"))
        assert "tensor 'x' held 1 NaN and 2 Inf, which were left out" in said

    def test_of_bodies_of_control_flow(self) -> None:
        branch = [
            onnx.helper.make_graph(
                [toys.node("Relu", "x", name)],
                name,
                [],
                [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)],
            )
            for name in ("yes", "no")
        ]
        model = toys.model(
            [toys.node("If", "c", "y", then_branch=branch[0], else_branch=branch[1])],
            {"x": ["n", 4]},
            {"y": ["n", 4]},
            {"c": np.array(True)},
        )
        said = warnings(calibrate(model, [np.ones((1000, 4), np.float32)], replace(CPU, method="minmax")))
        assert len(said) == 1 and "2 float tensors inside If, Loop or Scan bodies" in said[0]

    def test_of_names_with_a_colon(self, calibration: Calibration) -> None:
        assert colon_warning(calibration) == ""
        said = colon_warning(unary("in:0", [np.ones(4, np.float32)]))
        assert said.startswith("tensor 'in:0'") and "--format ort-flatbuffers" in said


class TestNextCommand:
    def test_has_the_shapes_of_dynamic_inputs(self, calibration: Calibration) -> None:
        line = next_command(calibration, "m.onnx", "m.cache")
        assert "--minShapes=x:1x2x4x4 --optShapes=x:8x2x4x4 --maxShapes=x:8x2x4x4" in line
        assert unseen_shapes(calibration) == []

    def test_is_that_of_the_version(self) -> None:
        old = calibrate(network(3), samples(3), replace(CPU, trt_version="7.2"))
        assert next_command(old, "m", "c") == "trtexec --onnx=m --int8 --calib=c --explicitBatch"

    def test_knows_no_shapes_without_a_run(self, calibration: Calibration) -> None:
        from_file = replace(calibration, seen_shapes={})
        assert "Shapes" not in next_command(from_file, "m", "c")
        assert unseen_shapes(from_file) == ["x"]
