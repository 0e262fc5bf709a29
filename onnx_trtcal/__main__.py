"""The process `onnx-trtcal`, also as `python -m onnx_trtcal`.

Nothing is imported above that takes time: an interrupt is answered from here on.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT


_settled: list[int] = []


def main() -> int:
    """Runs the command line of this process; returns the exit status."""
    atexit.register(_leave)  # first, so that it comes last
    # Python's last collection looks for cycles among all that numba and ONNX Runtime have brought, to free memory that
    # the system is about to take back.
    atexit.register(gc.freeze)
    try:
        from onnx_trtcal.cli import main as run

        try:
            status = run()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        _ignore_interrupts()
        if status == _INTERRUPTED:
            _settled.append(status)
    except KeyboardInterrupt:
        _ignore_interrupts()
        _settled.append(_INTERRUPTED)
        try:
            if sys.stderr is not None:
                sys.stderr.write("interrupted\n")
        except (OSError, ValueError):
            pass  # it cannot take anything
        return _INTERRUPTED
    return status


def _ignore_interrupts() -> None:
    """The exit status is settled: an interrupt while Python shuts down would change nothing but print a traceback."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave() -> None:
    """Ends an interrupted process with its status.

    Python would end it by the signal instead where the interrupt hit what `exec` ran, such as a dataclass being made.
    """
    if _settled:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                pass  # it cannot take anything
        os._exit(_settled[0])


if __name__ == "__main__":
    sys.exit(main())
