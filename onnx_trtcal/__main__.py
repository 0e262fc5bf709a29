"""The process `onnx-trtcal`, also as `python -m onnx_trtcal`.

Nothing is imported above that takes time: an interrupt is answered from here on.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT


def main() -> int:
    """Runs the command line of this process; returns the exit status."""
    try:
        import signal

        from onnx_trtcal.cli import main as run

        status = run()
        # The work is done: a late interrupt ends the process without a traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
