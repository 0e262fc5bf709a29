"""`onnx-trtcal tune` on the bundled models."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from onnx_trtcal.cli import main

MODELS = Path(__file__).resolve().parents[2] / "models"
FILES = ("digits_mlp.onnx", "digits_calib.npy", "digits_test.npy", "digits_test_labels.csv")
ARGUMENTS = ["digits_mlp.onnx", "digits_calib.npy", "--eval", "digits_test.npy", "--provider", "cpu"]
LABELS = ["--labels", "digits_test_labels.csv"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        shutil.copy(MODELS / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def repeated(command: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a printed command writes in a folder that holds nothing but the model and the data."""
    clean = tmp_path_factory.mktemp("clean")
    for name in FILES:
        shutil.copy(folder / name, clean)
    words = shlex.split(command)
    assert words[:2] == ["onnx-trtcal", "quantize"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clean)
        assert main([*words[1:], "-q"]) == 0
    return (clean / words[-1]).read_bytes()


def test_a_target_that_is_met(folder: Path, capsys: Capture) -> None:
    assert main(["tune", *ARGUMENTS, *LABELS, "--no-compile", "-o", "out.int8.onnx"]) == 0
    said = capsys.readouterr().out
    assert "steps are chosen on 120 samples, the result is reported on the other 120" in said
    assert "+ mse: top-1 " in said and "taken: mse" in said
    assert "the target is met: a drop of 1.00 points at most" in said
    assert "--method mse --provider cpu -o out.int8.onnx" in said
    made = {"out.int8.onnx", "out.int8.calibration.cache", "out.int8.calibration.cache.json"}
    made.add("out.int8.layer_precisions.txt")
    assert {path.name for path in folder.iterdir()} == {*FILES, *made}


@pytest.mark.slow
def test_the_printed_command_repeats_the_bytes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    flags = ["--task", "none", "--max-drop", "0.002%", "--max-samples", "32", "--no-compile", "--json"]
    status = main(["tune", *ARGUMENTS, *flags, "--max-float", "95%"])
    found = json.loads(capsys.readouterr().out)
    assert status == (0 if found["met"] else 1)
    assert found["taken"]["setting"]["exclude"] and "--exclude" in found["command"]
    assert found["layer_precisions"].endswith(":fp16")
    first = (folder / "digits_mlp.int8.onnx").read_bytes()
    assert repeated(found["command"], folder, tmp_path_factory) == first


@pytest.mark.slow
def test_the_command_of_a_rounded_model_repeats_the_bytes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    flags = ["--task", "none", "--max-drop", "0.001%", "--max-layers", "0", "--no-compile", "--json"]
    assert main(["tune", *ARGUMENTS, *flags, "--exclude", "*fc2*"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["met"] and found["stopped"] is None
    assert found["taken"]["setting"]["exclude"] == [] and found["taken"]["cost"]["float_layers"] == 1
    first = (folder / "digits_mlp.int8.onnx").read_bytes()
    assert repeated(found["command"], folder, tmp_path_factory) == first


def test_out_of_time_keeps_the_notes(folder: Path, capsys: Capture) -> None:
    flags = ["--task", "none", "--max-drop", "0", "--no-compile", "--budget", "0.01s"]
    assert main(["tune", *ARGUMENTS, *flags]) == 1
    said = capsys.readouterr().out
    assert "is not met: the budget of 0.01 s is used up; this is the best that was found" in said
    assert (folder / "digits_mlp.int8.onnx").exists()
    assert (folder / "digits_mlp.int8.onnx.tune.json").exists()
    flags[-1] = "0.02s"
    assert main(["tune", *ARGUMENTS, *flags]) == 1
    assert "resumes from digits_mlp.int8.onnx.tune.json: 1 results are there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-drop", "much"], "'much' is not a drop"),
        (["--budget", "soon"], "'soon' is not a time"),
        (["--max-float", "half"], "'half' is not a share"),
        (["--round"], "unrecognized arguments: --round"),
    ],
)
def test_misuse(folder: Path, capsys: Capture, flags: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as status:
        main(["tune", *ARGUMENTS, *flags])
    assert status.value.code == 2
    assert message in capsys.readouterr().err


def test_a_drop_of_everything_is_refused(folder: Path, capsys: Capture) -> None:
    assert main(["tune", *ARGUMENTS, "--max-drop", "1"]) == 1
    assert "write 1% or 0.01 for one point" in capsys.readouterr().err
