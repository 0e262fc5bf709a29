"""Standard output and standard error of every kind, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import toys

from onnx_trtcal.cli.streams import print_line

ROOT = Path(__file__).parents[2]
NASTY = "a\n\x1b[31merror: forged\u202e\x9b\u2028ö"
CACHE = "TRT-100300-EntropyCalibration2\nx: 3f800000\nnäme\x1b[31m: 3f800000\n"

needs_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no device that is always full"
)


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of bash in which `$T` is the command line under test."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "T": f"{sys.executable} -m onnx_trtcal", **environment}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.cache").write_text(CACHE, encoding="utf-8")
    return tmp_path


def test_a_line_is_one_line_of_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(sys.stdout, NASTY)
    assert capsys.readouterr().out == r"a\n\x1b[31merror: forged\u202e\x9b\u2028ö" + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("$T --version >&-", 0, ""),
        ("$T --help >&-", 0, ""),
        ("$T --version >&- 2>&- <&-", 0, ""),
        ("$T cache show x.cache >&-", 0, ""),
        ("$T cache show gone.cache >&-", 1, "error: "),
        ("$T cache show gone.cache 2>&-", 1, ""),
        ("$T cache show gone.cache >&- 2>&-", 1, ""),
        ("$T no-such-verb 2>&-", 2, ""),
        ("$T --no-such-flag 2>&-", 2, ""),
        ("$T cache show gone.cache 2>/dev/full", 1, ""),
        pytest.param("$T --version >/dev/full", 1, "cannot write to standard output", marks=needs_full),
        pytest.param("$T --help >/dev/full", 1, "cannot write to standard output", marks=needs_full),
        pytest.param(
            "$T cache show x.cache >/dev/full", 1, "cannot write to standard output", marks=needs_full
        ),
        pytest.param("$T cache show x.cache >/dev/full 2>&1", 1, "", marks=needs_full),
        ("$T --help | true; exit ${PIPESTATUS[0]}", None, ""),
        ("$T cache show x.cache --json | true; exit ${PIPESTATUS[0]}", None, ""),
    ],
)
def test_streams_that_take_nothing(folder: Path, line: str, status: int | None, said: str) -> None:
    done = shell(line, folder)
    # A reader may be gone before or after the last line is written.
    assert done.returncode in ({0, 141} if status is None else {status}), done.stderr
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    assert said.encode() in done.stderr and (said or not done.stderr)


@pytest.mark.slow
def test_a_closed_stream_does_not_lead_into_a_file(folder: Path) -> None:
    done = shell("$T cache set-version x.cache --trt-version 10.4 -o y.cache >&- 2>&-", folder)
    assert done.returncode == 0
    expected = CACHE.replace("100300", "100400")
    assert (folder / "y.cache").read_text(encoding="utf-8") == expected


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "latin-1"])
def test_every_encoding_takes_every_name(folder: Path, encoding: str) -> None:
    (folder / "nö\u202e卷\x1b.cache").write_text(CACHE, encoding="utf-8")
    done = shell(
        "$T cache show *卷*; $T cache show *卷*.gone; $T check gone-卷.onnx *卷*",
        folder,
        PYTHONIOENCODING=encoding,
        LC_ALL="C.UTF-8",
    )
    said = (done.stdout + done.stderr).decode(encoding)
    assert "Traceback" not in said and said.count("error: ") == 2
    assert "\x1b" not in said and "\u202e" not in said and r"\x1b[31m" in said
    assert ("卷" in said) == (encoding == "utf-8") and ("näme" in said) == (encoding != "ascii")


@pytest.mark.slow
def test_names_of_a_model_forge_no_line(tmp_path: Path, folder: Path) -> None:
    import onnx

    relu = onnx.helper.make_node("Relu", ["x" + NASTY], [NASTY])
    model = toys.model([relu], {"x" + NASTY: ["n", 4]}, {NASTY: ["n", 4]})
    onnx.save(model, tmp_path / "m.onnx")
    done = shell("$T check m.onnx x.cache; $T lint m.onnx; $T check m.onnx x.cache --json >a.json", folder)
    said = (done.stdout + done.stderr).decode()
    assert not any(line.lstrip().startswith("error: forged") for line in said.splitlines())
    assert "\x1b" not in said and "\u202e" not in said and r"\x1b[31merror: forged" in said
    found = json.loads((folder / "a.json").read_text())
    assert any(gap["tensor"] == NASTY for gap in found["gaps"])
