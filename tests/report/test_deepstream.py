"""The keys for a calibration: from its preprocessing where images were fed, and from its shapes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, network, samples
from PIL import Image

from onnx_trtcal import calibrate, solve
from onnx_trtcal.cli import main
from onnx_trtcal.options import Preprocess
from onnx_trtcal.report.deepstream import deepstream_lines

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


def vision(shape: tuple[int | str, ...] = ("n", 3, 8, 12)) -> onnx.ModelProto:
    return toys.model([toys.node("Relu", "image", "y")], {"image": shape}, {"y": None})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 12, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_images_give_every_key(images: Path) -> None:
    options = replace(CPU, preprocess=Preprocess(mean=(0.5,), std=(0.25,)))
    calibration = calibrate(vision(), images, options)
    lines = deepstream_lines(calibration, "m.onnx", "m.cache")
    wanted = ["infer-dims=3;8;12", "batch-size=3", "model-color-format=0", "offsets=127.5;127.5;127.5"]
    assert set(wanted) <= set(lines) and "net-scale-factor=0.01568627451" in lines
    # The statistics keep the preprocessing, whatever solve is told.
    again = solve(calibration.collection, vision(), CPU)
    assert deepstream_lines(again, "m.onnx", "m.cache") == lines


def test_channels_last(images: Path) -> None:
    lines = deepstream_lines(calibrate(vision(("n", 8, 12, 3)), images, CPU), "m", "c")
    assert "infer-dims=3;8;12" in lines and "network-input-order=1" in lines


def test_arrays_were_preprocessed_by_their_owner() -> None:
    data = [np.ones((3, 8, 12), np.float32)]
    lines = deepstream_lines(calibrate(vision(), data, CPU), "m", "c")
    assert "infer-dims=3;8;12" in lines
    assert any("the samples were arrays" in line for line in lines)
    assert not any(line.startswith("net-scale-factor") for line in lines)


def test_other_inputs_are_named(images: Path) -> None:
    model = toys.model(
        [toys.node("Add", "image bias", "y")], {"image": ["n", 3, 8, 12], "bias": ["n", 1, 1, 12]}, ["y"]
    )
    data = {"image": np.ones((3, 8, 12), np.float32), "bias": np.ones((1, 1, 12), np.float32)}
    lines = deepstream_lines(calibrate(model, [data], CPU), "m", "c")
    assert any("bias need a custom library" in line for line in lines)


def test_the_flag_prints_them(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    onnx.save(vision(), tmp_path / "m.onnx")
    command = [str(tmp_path / "m.onnx"), str(images), "-o", str(tmp_path / "a.cache"), "--provider", "cpu"]
    assert main([*command, "--deepstream"]) == 0
    said = capsys.readouterr().out
    assert (
        "for DeepStream's nvinfer:\n  [property]\n" in said
        and f"int8-calib-file={tmp_path / 'a.cache'}" in said
    )
    assert main(command) == 0
    assert "DeepStream" not in capsys.readouterr().out
    table = ["-o", str(tmp_path / "a.json"), "--format", "ranges-json", "--deepstream"]
    assert main([*command[:2], *table, "--provider", "cpu"]) == 0
    assert "--deepstream has no effect" in capsys.readouterr().err


def test_a_calibration_without_images_needs_no_image_input() -> None:
    lines = deepstream_lines(calibrate(network(), samples(2), CPU), "m", "c")
    assert "infer-dims=2;4;4" in lines
