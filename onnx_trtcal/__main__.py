"""The process `onnx-trtcal`, also as `python -m onnx_trtcal`.

Nothing is imported above that takes time: an interrupt is answered from here on.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

__all__ = ["main", "spare_collections"]

_INTERRUPTED = 130  # 128 + SIGINT
# New objects between two looks for cycles: modules, and graphs of thousands of nodes, are long in the making.
_NEW_OBJECTS = 10_000

_settled: list[int] = []


def main() -> int:
    """Runs the command line of this process; returns the exit status."""
    atexit.register(_leave)  # first, so that it comes last
    spare_collections()
    try:
        from onnx_trtcal.cli import main as run

        try:
            status = run()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        _ignore_interrupts()
        if _abandon_loading() or status == _INTERRUPTED:
            _settled.append(status)
    except KeyboardInterrupt:
        _ignore_interrupts()
        _abandon_loading()
        _settled.append(_INTERRUPTED)
        try:
            if sys.stderr is not None:
                sys.stderr.write("interrupted\n")
        except (OSError, ValueError):
            pass  # it cannot take anything
        return _INTERRUPTED
    return status


def spare_collections() -> None:
    """Has Python look for cycles of objects more rarely, and not at the end of the process.

    The last look is at all that numba and ONNX Runtime have brought, to free what the system is about to take back.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)


def _ignore_interrupts() -> None:
    """The exit status is settled: an interrupt while Python shuts down would change nothing but print a traceback."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _abandon_loading() -> bool:
    """Has the end of the process not wait for kernels that nobody needs any more; whether any are being loaded."""
    # Not imported: what takes no data has no kernels.
    warm_up = sys.modules.get("onnx_trtcal.counting.warm_up")
    return bool(warm_up and warm_up.abandon())


def _leave() -> None:
    """Ends a process with its status where it was interrupted, or would wait for kernels that nobody needs any more.

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
