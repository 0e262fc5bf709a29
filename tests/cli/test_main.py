from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_trtcal import __version__
from onnx_trtcal.cli import VERBS, main

HEAVY = {
    "numpy",
    "onnx",
    "onnxruntime",
    "onnx_graphsurgeon",
    "numba",
    "PIL",
    "rich",
    "flatbuffers",
    "tomllib",
}


def modules_after(*calls: list[str]) -> set[str]:
    """The packages that are loaded when the command line has answered these calls, one after the other."""
    code = (
        "import sys\nfrom onnx_trtcal.cli import main\n"
        f"for call in {list(calls)!r}:\n"
        "    try:\n        main(call)\n    except SystemExit as end:\n        assert not end.code\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after(["--help"], *([verb, "--help"] for verb in VERBS), ["--version"])
    assert "argparse" in loaded and not loaded & HEAVY


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*([verb] if verb else []), "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: onnx-trtcal {verb if verb != 'calibrate' else ''}")


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(f"  {verb} " in said for verb in VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"onnx-trtcal {__version__}\n"


def test_a_mistyped_verb_is_told_from_a_missing_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["slove", "a", "b"])
    assert end.value.code == 2 and "did you mean 'solve'?" in capsys.readouterr().err
    assert main(["missing.onnx", "data"]) == 1
    assert "missing.onnx" in capsys.readouterr().err


def test_flags_are_not_guessed_from_their_beginnings() -> None:
    with pytest.raises(SystemExit) as end:
        main(["m.onnx", "data", "--meth", "mse"])
    assert end.value.code == 2


def test_an_error_is_a_message_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["m.onnx", "data", "--method", "entropi"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: 'entropi' is not a method") and "Traceback" not in said


def test_an_interrupt_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("onnx_trtcal.cli.cache.run", interrupted)
    assert main(["cache", "show", "x"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_terminated_run_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def terminated(arguments: object) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("onnx_trtcal.cli.cache.run", terminated)
    with pytest.raises(SystemExit) as leaving:
        main(["cache", "show", "x"])
    assert leaving.value.code == 143 and cleaned
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    entries = "".join(f"t{number}: 3f800000\n" for number in range(50000))
    (tmp_path / "x.cache").write_text(f"TRT-100300-EntropyCalibration2\n{entries}")
    command = [sys.executable, "-m", "onnx_trtcal", "cache", "show", str(tmp_path / "x.cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_log_that_is_full_costs_no_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "onnx_trtcal", "models/digits_mlp.onnx", "models/digits_calib.npy"]
    root = Path(__file__).parents[2]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "a.cache")],
            cwd=root,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1 and "cannot write to standard output" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a.cache", "a.cache.json"}


@pytest.mark.slow
def test_names_that_the_locale_cannot_hold(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    shutil.copy(root / "models" / "digits_mlp.onnx", tmp_path / "z\u00e4hler.onnx")
    shutil.copy(root / "models" / "digits_calib.npy", tmp_path / "z\u00e4hler.npy")
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "onnx_trtcal"]
    for words in (
        ["z\u00e4hler.onnx", "z\u00e4hler.npy"],
        ["quantize", "z\u00e4hler.onnx", "z\u00e4hler.calibration.cache"],
    ):
        encoded = [os.fsencode(word) for word in (*command, *words)]
        done = subprocess.run(encoded, cwd=tmp_path, env=plain, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    sidecar = json.loads((tmp_path / "z\u00e4hler.calibration.cache.json").read_bytes())
    assert sidecar["model"]["file"] == "z\u00e4hler.onnx"
    assert (tmp_path / "z\u00e4hler.int8.onnx").exists()
