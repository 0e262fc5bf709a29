"""The process `onnx-trtcal`, also as `python -m onnx_trtcal`.

Nothing is imported above that takes time: an interrupt is answered from here on.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Runs the command line of this process; returns the exit status."""
    try:
        from onnx_trtcal.cli import main as run

        return run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("interrupted\n")
        return 128 + signal.SIGINT
    finally:
        # The work is done or given up: a late interrupt ends the process without a traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
