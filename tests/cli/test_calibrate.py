from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small import CPU, network, samples, write_folder

from onnx_trtcal import calibrate
from onnx_trtcal.cli import main
from onnx_trtcal.stats import store
from onnx_trtcal.trt.cache import read_cache
from onnx_trtcal.trt.table_writers import ort_flatbuffers, ort_json, ranges_json

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and data, and an empty working directory beside them."""
    onnx.save(network(), str(tmp_path / "model.onnx"))
    write_folder(tmp_path / "data", samples(20))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def run(job: Path, *flags: str) -> int:
    return main([str(job / "model.onnx"), str(job / "data"), "--provider", "cpu", *flags])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_bar_says_what_goes_on(job: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(job) == 0
    said = capsys.readouterr().err
    assert "calibrating" in said and "searching" not in said
    assert run(job, "--method", "easyquant") == 0
    said = capsys.readouterr().err
    assert said.index("calibrating") < said.index("searching")


def test_writes_the_cache_and_its_sidecar_and_nothing_else(job: Path, capsys: Capture) -> None:
    assert run(job) == 0
    assert names(job / "cwd") == {"model.calibration.cache", "model.calibration.cache.json"}
    expected = calibrate(job / "model.onnx", job / "data", CPU).cache()
    assert read_cache("model.calibration.cache") == expected
    said = capsys.readouterr()
    for part in (
        "20 array files in natural order",
        "execution provider: CPU (as asked)",
        "20 samples. 7 tensors have a scale: 3 measured",
        "hardest clips:",
        "wrote model.calibration.cache (",
        "--int8 --calib=model.calibration.cache --minShapes=x:1x2x4x4",
        "onnx-trtcal quantize ",
    ):
        assert part in said.out
    assert "warning: " in said.err and "Traceback" not in said.err


def test_the_verb_may_be_named(job: Path) -> None:
    arguments = ["calibrate", str(job / "model.onnx"), str(job / "data"), "--provider", "cpu", "-q"]
    assert main(arguments) == 0
    assert (job / "cwd" / "model.calibration.cache").exists()


def test_quiet_leaves_warnings_only(job: Path, capsys: Capture) -> None:
    assert run(job, "-q") == 0
    said = capsys.readouterr()
    assert said.out == "" and all(line.startswith("warning: ") for line in said.err.splitlines())


def test_verbose_lists_every_scale_and_where_it_came_from(job: Path, capsys: Capture) -> None:
    assert run(job, "-v") == 0
    lines = [line.split() for line in capsys.readouterr().out.split("scales:\n")[1].splitlines()[:8]]
    scales = read_cache("model.calibration.cache").scales
    assert {line[0]: float(line[1]) for line in lines[1:]} == {
        name: float(f"{scale:.6g}") for name, scale in scales.items()
    }
    assert ["pool:", "relu"] in [line[-2:] for line in lines] and lines[1][-1] == "measured"


def test_statistics_and_folded_model_on_request(job: Path) -> None:
    assert run(job, "-o", "a.cache", "--save-stats", "a.stats", "--save-folded", "a.onnx") == 0
    assert names(job / "cwd") == {"a.cache", "a.cache.json", "a.stats", "a.onnx"}
    assert store.load_statistics("a.stats") == calibrate(job / "model.onnx", job / "data", CPU).collection
    assert "BatchNormalization" not in {node.op_type for node in onnx.load("a.onnx").graph.node}


def test_formats_go_beside_the_cache(job: Path, capsys: Capture) -> None:
    wanted = ("trt", "ort-flatbuffers", "ort-json", "ranges-json")
    assert (
        run(job, "-o", "a.calibration.cache", *(word for form in wanted for word in ("--format", form))) == 0
    )
    tables = {"a.calibration.cache", "a.flatbuffers", "a.ort.json", "a.ranges.json"}
    assert names(job / "cwd") == {*tables, "a.calibration.cache.json"}
    scales = read_cache("a.calibration.cache").scales
    assert Path("a.flatbuffers").read_bytes() == ort_flatbuffers(scales)
    assert Path("a.ort.json").read_bytes() == ort_json(scales)
    assert Path("a.ranges.json").read_bytes() == ranges_json(scales)
    assert "trt_int8_calibration_table_name='a.flatbuffers'" in capsys.readouterr().out


def test_a_single_format_goes_where_it_is_told(job: Path, capsys: Capture) -> None:
    assert run(job, "--format", "ranges-json") == 0
    assert names(job / "cwd") == {"model.ranges.json", "model.ranges.json.json"}
    assert json.loads(Path("model.ranges.json.json").read_text())["cache"]["format"] == "ranges-json"
    assert "trtexec" not in capsys.readouterr().out
    assert run(job, "--format", "ort-json", "-o", "table") == 0
    assert Path("table").exists()


def test_formats_that_would_be_one_file_are_refused_before_any_work(job: Path, capsys: Capture) -> None:
    assert run(job, "-o", "a.flatbuffers", "--format", "trt", "--format", "ort-flatbuffers") == 1
    assert "the same file" in capsys.readouterr().err and names(job / "cwd") == set()


def test_the_header_on_request(job: Path) -> None:
    assert (
        run(
            job, "-o", "a", "--algorithm", "MinMaxCalibration", "--trt-version", "8.6.1", "--method", "minmax"
        )
        == 0
    )
    assert Path("a").read_text().splitlines()[0] == "TRT-8601-MinMaxCalibration"


def test_says_what_to_pass_for_a_tensor_that_is_clipped_too_hard(job: Path, capsys: Capture) -> None:
    assert run(job, "--method", "percentile:80") == 0
    said = capsys.readouterr().err
    assert "percentile:80.0 clips 'relu' at" in said and "pass --method-for relu=mse" in said
    assert run(job, "--method", "percentile:80", "--method-for", "relu=mse") == 0
    assert "clips 'relu'" not in capsys.readouterr().err


def test_a_config_file(job: Path) -> None:
    (job / "options.toml").write_text('method = "minmax"\ntrt_version = "8.4"\n')
    assert run(job, "--config", str(job / "options.toml")) == 0
    cache = read_cache("model.calibration.cache")
    wanted = calibrate(job / "model.onnx", job / "data", replace(CPU, method="minmax", trt_version="8.4"))
    assert cache == wanted.cache()


def test_bad_input_is_a_message_and_leaves_no_output(job: Path, capsys: Capture) -> None:
    np.save(job / "data" / "s3.npy", np.full((2, 4, 4), np.nan, np.float32))
    assert run(job) == 1
    said = capsys.readouterr().err
    assert "error: NaN or Inf in" in said and "s3.npy" in said and "Traceback" not in said
    assert names(job / "cwd") == set()


def test_an_output_folder_that_is_missing(job: Path, capsys: Capture) -> None:
    assert run(job, "-o", str(job / "none" / "a.cache")) == 1
    said = capsys.readouterr()
    assert "the folder of this output does not exist" in said.err
    assert not said.out, "refused before any work was done"


def test_several_paths_before_and_behind_flags(job: Path, capsys: Capture) -> None:
    write_folder(job / "more", samples(3, seed=5))
    model = str(job / "model.onnx")
    assert main([model, str(job / "data"), "--provider", "cpu", str(job / "more"), "-o", "two.cache"]) == 0
    said = capsys.readouterr().out
    assert f"{job}/data: 20 array files in natural order" in said and "23 samples. " in said
    (job / "all.txt").write_text("more/s2.npy\ndata/s0.npy\n")
    assert main(["--provider", "cpu", model, str(job / "all.txt"), "-q", "-o", "list.cache"]) == 0
    wanted = calibrate(job / "model.onnx", [job / "more" / "s2.npy", job / "data" / "s0.npy"], CPU)
    assert read_cache("list.cache") == wanted.cache()


def test_no_output_goes_over_one_of_several_inputs(job: Path, capsys: Capture) -> None:
    other = str(job / "data" / "s1.npy")
    assert main([str(job / "model.onnx"), str(job / "data" / "s0.npy"), other, "-o", other]) == 1
    assert "would overwrite an input" in capsys.readouterr().err
