"""The look at the end result, on the command line: the last thing a run says."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import fakes, toys

from onnx_trtcal.cli import main
from onnx_trtcal.errors import ModelError
from onnx_trtcal.evaluation import end_result

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
HARD = ["--method", "percentile:20"]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(fakes.perceptron(), str(tmp_path / "m.onnx"))
    np.save(tmp_path / "d.npy", fakes.samples(24))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def calibrated(*flags: str) -> int:
    return main(["m.onnx", "d.npy", "--provider", "cpu", "-o", "c.cache", *flags])


@pytest.mark.usefixtures("job")
class TestCalibrate:
    def test_a_lost_output_is_the_last_thing_that_is_said(self, capsys: Capture) -> None:
        assert calibrated(*HARD) == 0
        *_, first, second = capsys.readouterr().err.splitlines()
        assert first.startswith("WARNING: c.cache: INT8 ruins") and "on 8 samples: 'y' " in first
        assert "--method auto" in second
        assert second.endswith("onnx-trtcal sensitivity m.onnx d.npy --cache c.cache")

    def test_the_command_feeds_the_data_as_it_was_fed(self, capsys: Capture) -> None:
        assert calibrated(*HARD, "--item-axis", "0") == 0
        assert capsys.readouterr().err.endswith("sensitivity m.onnx d.npy --cache c.cache --item-axis 0\n")

    def test_quiet_does_not_silence_it(self, capsys: Capture) -> None:
        assert calibrated("-q", *HARD) == 0
        said = capsys.readouterr()
        assert said.out == "" and "WARNING: c.cache: INT8 ruins" in said.err

    def test_what_is_fine_is_one_line_at_the_end(self, capsys: Capture) -> None:
        assert calibrated("--method", "minmax") == 0
        said = capsys.readouterr()
        assert "WARNING" not in said.err
        assert said.out.splitlines()[-1].startswith("c.cache: INT8 against FP32 on 4 samples: 'y' ")

    def test_it_can_be_switched_off_and_leaves_no_trace_in_the_files(
        self, capsys: Capture, job: Path
    ) -> None:
        files = [job / "c.cache", job / "c.cache.json"]
        assert calibrated(*HARD, "--check-samples", "0") == 0
        said = capsys.readouterr()
        assert "INT8 against" not in said.out and "WARNING" not in said.err
        without = [path.read_bytes() for path in files]
        assert calibrated(*HARD) == 0
        assert [path.read_bytes() for path in files] == without

    @pytest.mark.parametrize("error", [ModelError("it\nbroke"), MemoryError(), RuntimeError("no idea")])
    def test_a_look_that_fails_is_one_line_and_costs_nothing(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch, job: Path, error: Exception
    ) -> None:
        def fails(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(end_result, "check_end_result", fails)
        assert calibrated() == 0
        said = capsys.readouterr()
        last = said.out.splitlines()[-1]
        assert last.startswith("INT8 was not compared with FP32: ")
        assert last.endswith("; to compare: onnx-trtcal evaluate m.onnx DATA --cache c.cache")
        assert (job / "c.cache.json").exists() and not (job / "c.cache.checkpoint").exists()

    def test_a_model_without_layers_has_nothing_to_compare(self, capsys: Capture) -> None:
        onnx.save(toys.model([toys.node("Relu", "x", "y")], {"x": ["n", 32]}, ["y"]), "m.onnx")
        assert calibrated() == 0
        assert "no layer of the model can be quantized" in capsys.readouterr().out.splitlines()[-1]

    def test_it_is_red_on_a_terminal_only(self, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        for terminal, plain, red in ((False, "", False), (True, "", True), (True, "1", False)):
            monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
            monkeypatch.setenv("NO_COLOR", plain)
            assert calibrated("-q", *HARD) == 0
            assert ("\x1b[1;31mWARNING: c.cache: INT8 ruins" in capsys.readouterr().err) == red

    def test_with_a_qdq_model_each_is_looked_at(self, capsys: Capture, job: Path) -> None:
        (job / "options.toml").write_text('[qdq]\nexclude = ["two", "three"]\n')
        assert calibrated(*HARD, "--format", "qdq", "--config", "options.toml") == 0
        said = capsys.readouterr()
        assert [line.split(":")[1] for line in said.err.splitlines() if line.startswith("WARNING")] == [
            " m.int8.onnx",
            " c.cache",
        ]


@pytest.mark.usefixtures("job")
class TestOthers:
    def test_quantize_looks_at_its_model(self, capsys: Capture) -> None:
        words = ["quantize", "m.onnx", "d.npy", "--provider", "cpu", "-o", "q.onnx"]
        assert main([*words, *HARD]) == 0
        said = capsys.readouterr()
        assert said.err.splitlines()[-2].startswith("WARNING: q.onnx: INT8 ruins")
        assert main([*words, "--json", *HARD]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)["end_result"]
        assert found["samples"] == 8 and found["lost"] == ["y"] == [each["name"] for each in found["blocks"]]
        assert found["blocks"][0]["sqnr"] < 10 and "WARNING: q.onnx: INT8 ruins" in said.err
        assert main([*words, "--json", "--check-samples", "0"]) == 0
        assert "end_result" not in json.loads(capsys.readouterr().out)

    def test_without_data_nobody_knows_and_a_line_says_so(self, capsys: Capture) -> None:
        assert calibrated("-q", "--save-stats", "s.stats") == 0
        capsys.readouterr()
        for words, flags in (
            (["solve", "s.stats", "m.onnx", "-o", "t.cache"], "--cache t.cache"),
            (["quantize", "m.onnx", "s.stats", "-o", "q.onnx"], "--qdq q.onnx"),
            (["quantize", "m.onnx", "c.cache", "-o", "q.onnx"], "--qdq q.onnx"),
        ):
            assert main(words) == 0
            assert capsys.readouterr().out.splitlines()[-1] == (
                "INT8 was not compared with FP32: the scales came without data to run; to compare: "
                f"onnx-trtcal evaluate m.onnx DATA {flags}"
            )
        assert main(["quantize", "m.onnx", "c.cache", "-o", "q.onnx", "--json"]) == 0
        assert "without data" in json.loads(capsys.readouterr().out)["end_result"]["not_checked"]
