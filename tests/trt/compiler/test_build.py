"""The process around the compiler: whatever happens in there becomes an answer."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import onnx
import pytest
from helpers.compiler import needs_compiler, two_convs

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.trt.compiler import build as building
from onnx_trtcal.trt.compiler.build import CompilerMissingError, Message, build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(two_convs(), path)
    return path


def stand_in(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker, which has read its request and logged one line and a half when it comes to `code`."""
    start = (
        "import json, os, signal, sys, time\n"
        "request = json.load(sys.stdin)\n"
        "answer = open(request['answer'], 'w')\n"
        "log = open(request['log'], 'w')\n"
        "log.write(json.dumps(['VERBOSE', 'Parsing node: n_a [Conv]']) + '\\n[\"VERB')\n"
        "log.flush()\n"
    )
    worker = tmp_path / "stand_in.py"
    worker.write_text(start + code)
    monkeypatch.setattr(building, "_WORKER", worker)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "crash"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "it ended with SIGSEGV"),
        ("print('free(): invalid pointer', flush=True); os.abort()", "SIGABRT: free(): invalid pointer"),
        ("sys.exit('out of luck')", "it ended with exit status 1: out of luck"),
        ("time.sleep(60)", "it was still at work after 2 s and was stopped"),
    ],
)
def test_a_crash_is_an_answer(
    code: str, crash: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(code, tmp_path, monkeypatch)
    made = build(model, "sm86", {}, timeout=2)
    assert made.crash.endswith(crash) and made.timed_out == ("was stopped" in crash)
    assert made.engine_bytes is None and not made.parsed
    assert made.messages == (Message("VERBOSE", "Parsing node: n_a [Conv]"),)


def test_a_package_that_does_not_load(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("json.dump({'unusable': 'libnv.so: cannot open'}, answer)", tmp_path, monkeypatch)
    with pytest.raises(
        CompilerMissingError, match=r"cannot be loaded \(libnv\.so: cannot open\): install it again"
    ):
        build(model, "sm86", {}, timeout=20)


def test_no_package(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompilerMissingError) as caught:
        build(model, "sm86", {}, timeout=20)
    assert str(caught.value) == (
        "NVIDIA's compiler, TensorRT for RTX, is not installed: pip install 'onnx_trtcal[compiler]' (in a clone: "
        "pip install '.[compiler]')"
    )


@needs_compiler
def test_a_build_and_its_engine(model: Path, tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    made = build(model, "sm86", {}, timeout=120, engine=engine)
    assert made.parsed and not made.crash and not made.errors and made.version.count(".") >= 2
    assert engine.stat().st_size == made.engine_bytes
    assert any("LayerType" in message.text for message in made.messages)


@needs_compiler
def test_an_engine_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot write the file"):
        build(model, "sm86", {}, timeout=120, engine=tmp_path / "none" / "model.engine")


@needs_compiler
def test_what_the_parser_refuses(tmp_path: Path) -> None:
    proto = two_convs()
    proto.graph.node[1].op_type = "NoSuchOp"
    onnx.save(proto, tmp_path / "odd.onnx")
    made = build(tmp_path / "odd.onnx", "sm86", {}, timeout=120)
    assert not made.parsed and made.engine_bytes is None
    assert [(error.node, error.op, error.index) for error in made.errors] == [("n_r", "NoSuchOp", 1)]
