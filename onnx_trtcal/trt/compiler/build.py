"""Running NVIDIA's compiler on a model file, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.files import atomic_file
from onnx_trtcal.support.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "INSTALL",
    "Build",
    "CompilerMissingError",
    "Message",
    "ParserError",
    "build",
    "check_installed",
    "parse",
]

INSTALL = "pip install 'onnx_trtcal[compiler]' (in a clone: pip install '.[compiler]')"
_PACKAGE = "tensorrt_rtx"
_WORKER = Path(__file__).with_name("worker.py")
_LAST_WORDS = 2000  # characters of what a crashed compiler printed


class CompilerMissingError(CalibrationError):
    """The package with NVIDIA's compiler is not installed, or cannot be loaded here."""

    def lines(self) -> list[str]:
        """One line."""
        return [f"{self.what}: {self.fix}"]


@dataclass(frozen=True)
class Message:
    """One message of the compiler's log: `severity` is VERBOSE, INFO, WARNING, ERROR or INTERNAL_ERROR."""

    severity: str
    text: str


@dataclass(frozen=True)
class ParserError:
    """What the ONNX parser objects to.

    Attributes:
        code: name of its error code.
        text: its description.
        node: the node's name; empty when it has none, or when the error is not about a node.
        op: the node's op type.
        index: the node's position in the graph, -1 when the error is not about a node.
        function: the parser's function that found the error.
    """

    code: str
    text: str
    node: str
    op: str
    index: int
    function: str


@dataclass(frozen=True)
class Build:
    """What came of one build.

    Attributes:
        version: version of the compiler's package; empty when it crashed.
        parsed: whether the parser took the model.
        errors: what the parser objects to.
        missing_shapes: inputs whose shape, or values where they are read as a shape, must be given.
        engine_bytes: size of the engine; None when there is none.
        seconds: how long the builder took.
        messages: the log, in order.
        crash: how the compiler's process ended when it did not end well; empty otherwise.
        timed_out: whether that is because it was stopped after the time it was given.
        network: inputs and layers of the parser's network, as the worker writes them, where only that was asked for.
    """

    version: str
    parsed: bool
    errors: tuple[ParserError, ...]
    missing_shapes: tuple[str, ...]
    engine_bytes: int | None
    seconds: float
    messages: tuple[Message, ...]
    crash: str = ""
    timed_out: bool = False
    network: Mapping[str, Any] | None = None


def check_installed() -> None:
    """Does nothing where the compiler's package is installed.

    Raises:
        CompilerMissingError: where it is not.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise CompilerMissingError("NVIDIA's compiler, TensorRT for RTX, is not installed", fix=INSTALL)


def build(
    model: Path, gpu: str, shapes: Mapping[str, tuple[int, ...]], timeout: float, engine: Path | None = None
) -> Build:
    """Parses and builds a model for one GPU, with the builder's detailed log.

    Args:
        model: an ONNX file; its external weights lie beside it.
        gpu: compute capability, such as `sm86`.
        shapes: input -> the one shape, or the values, to build for, for inputs that need it.
        timeout: seconds after which the compiler is stopped.
        engine: where to write the engine.

    Raises:
        CompilerMissingError: when the package is not installed or cannot be loaded.
        CalibrationError: when the engine cannot be written.
    """
    check_installed()
    with TemporaryFolder() as folder:
        request = {
            **_request(model, folder),
            "gpu": gpu,
            "shapes": {key: list(shape) for key, shape in shapes.items()},
            "engine": str(folder / "engine") if engine else None,
        }
        built = _run(request, folder, timeout)
        if engine is not None and built.engine_bytes is not None:
            with open(folder / "engine", "rb") as source, atomic_file(engine) as target:
                shutil.copyfileobj(source, target)
    return built


def parse(model: Path, timeout: float) -> Build:
    """Parses a model and reads the network that the parser makes, without building it.

    Args:
        model: an ONNX file; its external weights lie beside it.
        timeout: seconds after which the parser is stopped.

    Raises:
        CompilerMissingError: when the package is not installed or cannot be loaded.
    """
    check_installed()
    with TemporaryFolder() as folder:
        return _run({**_request(model, folder), "parse_only": True}, folder, timeout)


def _request(model: Path, folder: Path) -> dict[str, Any]:
    return {
        "model": str(model.resolve()),
        "log": str(folder / "log"),
        "answer": str(folder / "answer"),
        "parse_only": False,
    }


def _run(request: Mapping[str, Any], folder: Path, timeout: float) -> Build:
    """Runs the worker and reads what it left."""
    # -P keeps the worker's own folder off the path, whose modules would hide others of the same name.
    command = [sys.executable, "-P", str(_WORKER)]
    with open(folder / "printed", "wb") as printed:
        try:
            ended = subprocess.run(
                command,
                input=json.dumps(request).encode(),
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _failed(
                folder, f"it was still at work after {timeout:g} s and was stopped", timed_out=True
            )
    if ended.returncode == 0:
        return _read(folder)
    said = (folder / "printed").read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
    return _failed(
        folder, f"it ended with {_ending(ended.returncode)}" + (f": {said.splitlines()[-1]}" if said else "")
    )


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _failed(folder: Path, crash: str, *, timed_out: bool = False) -> Build:
    return Build(
        version="",
        parsed=False,
        errors=(),
        missing_shapes=(),
        engine_bytes=None,
        seconds=0.0,
        messages=tuple(_messages(folder / "log")),
        crash=crash,
        timed_out=timed_out,
    )


def _read(folder: Path) -> Build:
    answer = json.loads((folder / "answer").read_text(encoding="utf-8"))
    if "unusable" in answer:
        raise CompilerMissingError(
            f"NVIDIA's compiler, TensorRT for RTX, cannot be loaded ({answer['unusable']})",
            fix=f"install it again, {INSTALL}",
        )
    return Build(
        version=answer["version"],
        parsed=answer["parsed"],
        errors=tuple(ParserError(**error) for error in answer["errors"]),
        missing_shapes=tuple(answer["missing_shapes"]),
        engine_bytes=answer["engine_bytes"],
        seconds=answer["seconds"],
        messages=tuple(_messages(folder / "log")),
        network=answer.get("network"),
    )


def _messages(path: Path) -> list[Message]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            severity, text = json.loads(line)
        except ValueError:
            break  # a crash cut the last line short
        found.append(Message(severity, text))
    return found
