"""What a run ends in when something goes wrong that no verb foresaw, or when a signal comes."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from onnx_trtcal import __version__, lint
from onnx_trtcal.cli import main
from onnx_trtcal.cli.boundary import run_guarded
from onnx_trtcal.cli.console import Console
from onnx_trtcal.cli.listener import ConsoleListener
from onnx_trtcal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SECRET = "a value of the data"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def failing(error: BaseException) -> Callable[[], int]:
    def work() -> NoReturn:
        local = SECRET
        try:
            {}[local]
        except KeyError as cause:
            raise error from cause

    return work


def test_what_is_unforeseen_is_one_line_and_a_report(reports: Path, capsys: Capture) -> None:
    words = ["check", "m\x1b.onnx", "two words"]
    assert run_guarded(failing(ValueError(SECRET)), words) == 70
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"onnx-trtcal {__version__}" in said.err and r"check $'m\x1b.onnx' 'two words'" in said.err
    (report,) = reports.iterdir()
    assert str(report) in said.err and stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text(encoding="utf-8")
    assert "{}[local]" in text and "builtins.KeyError" in text and "builtins.ValueError" in text
    assert f"numpy {__import__('numpy').__version__}" in text and r"'m\x1b.onnx'" in text
    assert SECRET not in text and SECRET not in said.err


def test_a_report_that_cannot_be_written_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    assert run_guarded(failing(RecursionError()), []) == 70
    assert "unforeseen RecursionError" in (said := capsys.readouterr().err) and "cannot be written" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ModelError("bad\nmodel", where="a\x1b", fix="x"),
            "error: bad\\nmodel\n  where: a\\x1b\n  to fix: x\n",
        ),
        (OSError(36, "File name too long", "a" * 5), "error: File name too long\n  where: aaaaa\n"),
        (MemoryError("4 GiB"), "error: the memory does not suffice: 4 GiB\n  to fix: "),
    ],
)
def test_what_is_foreseen_is_a_message(error: Exception, said: str, reports: Path, capsys: Capture) -> None:
    assert run_guarded(failing(error), []) == 1
    assert capsys.readouterr().err.startswith(said) and not list(reports.iterdir())


def test_the_python_api_raises_as_it_is() -> None:
    with pytest.raises(ModelError):
        lint("gone.onnx")


@pytest.mark.parametrize(
    "turned_into", [ModelError("ONNX Runtime cannot load the model"), ImportError("x"), ValueError()]
)
def test_an_interrupt_that_comes_back_as_another_error(
    turned_into: Exception, reports: Path, capsys: Capture
) -> None:
    def work() -> NoReturn:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise turned_into from None
        pytest.fail("the signal did not come")

    assert run_guarded(work, []) == 130
    assert capsys.readouterr().err == "interrupted\n" and not list(reports.iterdir())


def test_an_interrupt_that_is_lost_ends_the_run_at_the_next_step(capsys: Capture) -> None:
    steps = []

    def work() -> int:
        listener = ConsoleListener(Console(quiet=True))
        with listener.progress(3) as advance:
            for step in range(3):
                if step == 1:
                    try:
                        signal.raise_signal(signal.SIGINT)
                    except KeyboardInterrupt:
                        steps.append("lost")
                advance(1)
                steps.append("done")
        return 0

    assert run_guarded(work, []) == 130
    assert steps == ["done", "lost"] and capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_where_nothing_can_be_raised_prints_nothing_else(capsys: Capture) -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def work() -> int:
        Finalized()
        ConsoleListener(Console(quiet=True)).say("next")
        return 0

    assert run_guarded(work, []) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_termination_that_comes_back_as_another_error() -> None:
    def work() -> NoReturn:
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            raise ModelError("the user's code left") from None
        pytest.fail("the signal did not come")

    with pytest.raises(SystemExit) as leaving:
        run_guarded(work, [])
    assert leaving.value.code == 143


def test_a_termination_that_comes_back_as_another_exit() -> None:
    def work() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            raise SystemExit(1) from None  # as Ray does while it waits
        return 0

    with pytest.raises(SystemExit) as leaving:
        run_guarded(work, [])
    assert leaving.value.code == 128 + signal.SIGTERM


class HalfMade:
    """What an interrupt can leave of an object: its end misses what its start did not come to."""

    def __del__(self) -> None:
        raise AttributeError("'HalfMade' object has no attribute '_handle'")


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_an_interrupt_left_half_made_is_not_told(
    interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: told.append(problem.exc_type))

    def work() -> int:
        try:
            if interrupted:
                signal.raise_signal(signal.SIGTERM)
        finally:
            HalfMade()
        return 0

    with contextlib.suppress(SystemExit):
        run_guarded(work, [])
    assert told == ([] if interrupted else [AttributeError])


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_guarded(lambda: signal.raise_signal(signal.SIGINT) or 5, []) == 5
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.unraisablehook is not None


def test_a_thread_gets_no_signals_and_needs_none() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(run_guarded(lambda: 0, [])))
    thread.start()
    thread.join()
    assert found == [0]


@pytest.mark.slow
def test_an_interrupt_at_any_time_is_no_error(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "onnx_trtcal",
        str(ROOT / "models/digits_mlp.onnx"),
        str(ROOT / "models/digits_calib.npy"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for step in range(8):
        run = subprocess.Popen(
            [*command, "-o", str(tmp_path / "a.cache"), "-q"],
            stderr=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )
        time.sleep(0.25 + 0.15 * step)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=60)[1].decode()
        # Before the program runs, while Python starts and looks for it, an interrupt is Python's own to report.
        if "Traceback" not in said or "__main__.py" in said:
            assert run.returncode in (0, 130, -signal.SIGINT), said
            assert said in ("", "interrupted\n") or "warning" in said, said


LATE = """
import atexit, signal, sys
import onnx_trtcal.cli
from onnx_trtcal.__main__ import main

def interrupted():
    raise KeyboardInterrupt

def interrupted_in_exec():
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        return 130

if sys.argv[1].startswith("interrupted"):
    onnx_trtcal.cli.main = globals()[sys.argv[1]]
for _ in range(2):
    atexit.register(signal.raise_signal, signal.SIGINT)
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["lint", "gone.onnx"], 1),
        (["lint", "--no"], 2),
        (["interrupted"], 130),
        (["interrupted_in_exec"], 130),
    ],
)
def test_an_interrupt_while_python_shuts_down_changes_nothing(
    arguments: list[str], status: int, tmp_path: Path
) -> None:
    # As a module, as `python -m onnx_trtcal` is: Python ends others otherwise.
    (tmp_path / "late.py").write_text(LATE)
    done = subprocess.run(
        [sys.executable, "-m", "late", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        cwd=tmp_path,
    )
    assert done.returncode == status, done.stderr
    assert "KeyboardInterrupt" not in done.stderr and "Traceback" not in done.stderr


def test_misuse_is_printed_escaped(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["check", "--no\x1b[31m"])
    said = capsys.readouterr().err
    assert leaving.value.code == 2 and "\x1b" not in said and said.startswith("usage: onnx-trtcal check")
