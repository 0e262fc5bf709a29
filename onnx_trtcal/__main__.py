"""`python -m onnx_trtcal`."""

from __future__ import annotations

import sys

from onnx_trtcal.cli import main

if __name__ == "__main__":
    sys.exit(main())
