"""The outermost frame of the command line: whatever a verb raises becomes a line and an exit status."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from onnx_trtcal import __version__
from onnx_trtcal.cli.signals import noted_signals
from onnx_trtcal.cli.streams import (
    OutputError,
    flush_output,
    give_up_streams,
    prepare_streams,
    print_error,
    print_line,
    raise_refusal,
)
from onnx_trtcal.errors import CalibrationError
from onnx_trtcal.support.printable import shell_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["run_guarded"]

_REFUSED = 1
_UNFORESEEN = 70  # EX_SOFTWARE of sysexits.h


def run_guarded(work: Callable[[], int], arguments: Sequence[str]) -> int:
    """Does the work and says what became of it.

    Args:
        work: returns the exit status.
        arguments: the command line, without the program's name, for the report of an unforeseen error.

    Returns:
        The exit status, see `main`.

    Raises:
        SystemExit: what argparse leaves with, and a run that was terminated.
    """
    prepare_streams()
    try:
        with noted_signals() as noted:
            try:
                status = work()
                flush_output()
                raise_refusal()
            except SystemExit as leaving:
                status = _status_after_exit(leaving, noted.status)
            except BaseException as error:  # noqa: BLE001 (this is where everything ends)
                status = _status_after(error, noted.status, arguments)
    except KeyboardInterrupt:
        # A second one, while the first is answered.
        status = 128 + signal.SIGINT
    give_up_streams()
    return status


def _status_after_exit(leaving: SystemExit, signalled: int) -> int:
    """Leaves by the same door, unless the help or the version could not be written."""
    if signalled == 128 + signal.SIGINT:
        return _interrupted()
    flush_output()
    try:
        raise_refusal()
    except OutputError as error:
        if not signalled and not leaving.code:
            return _status_after(error, 0, ())
    give_up_streams()
    if signalled:
        # A library may have made another exit of the one that the signal asked for.
        raise SystemExit(signalled) from leaving
    raise leaving


def _status_after(error: BaseException, signalled: int, arguments: Sequence[str]) -> int:
    flush_output()
    if isinstance(error, KeyboardInterrupt) or signalled == 128 + signal.SIGINT:
        return _interrupted()
    if signalled:
        raise SystemExit(signalled)
    match error:
        case CalibrationError():
            print_error(error)
            return _REFUSED
        case OutputError(reader_gone=True):
            return 128 + signal.SIGPIPE
        case OutputError():
            return _fail(f"cannot write to standard output: {error.reason}")
        case MemoryError():
            detail = f": {error}" if str(error) else ""
            fix = "free some memory, or run on fewer samples at a time (--batch-size 1)"
            print_error(CalibrationError(f"the memory does not suffice{detail}", fix=fix))
            return _REFUSED
        case OSError() if error.strerror:
            print_error(CalibrationError(error.strerror, where=_file_of(error)))
            return _REFUSED
    return _unforeseen(error, arguments)


def _file_of(error: OSError) -> str:
    return "" if error.filename is None else str(error.filename)


def _interrupted() -> int:
    print_line(sys.stderr, "interrupted")
    return 128 + signal.SIGINT


def _unforeseen(error: BaseException, arguments: Sequence[str]) -> int:
    from onnx_trtcal.cli.unforeseen import write_report

    try:
        report = f"the full report is in {write_report(error, arguments)}"
    except OSError as refused:
        report = f"its report cannot be written: {refused.strerror}"
    command = shell_command(["onnx-trtcal", *arguments])
    _fail(f"unforeseen {type(error).__name__} in onnx-trtcal {__version__}, running `{command}`: {report}")
    return _UNFORESEEN


def _fail(message: str) -> int:
    print_line(sys.stderr, f"error: {message}")
    return _REFUSED
