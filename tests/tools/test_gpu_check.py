"""The GPU check on a machine that has none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "gpu_check.py"


@pytest.mark.slow
@pytest.mark.tools
def test_says_that_there_is_no_gpu() -> None:
    # Hides a GPU that this machine may have.
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, str(TOOL)], env=hidden, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert run.stdout.splitlines()[-1].startswith("no GPU to check: ")
