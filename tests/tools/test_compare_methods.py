"""The table of methods, on a bundled model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.tools
@pytest.mark.slow
def test_a_row_per_case_and_auto_beside_the_single_methods() -> None:
    command = [sys.executable, "tools/compare_methods.py", "tools/compare/bundled.toml"]
    done = subprocess.run(
        [*command, "--only", "digits_mlp", "--methods", "minmax,percentile:90"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    head, _, row = done.stdout.strip().splitlines()
    assert head.split("|")[2:5] == [" minmax ", " percentile:90 ", " auto "]
    name, minmax, clipped, auto, gained, _ = (cell.strip() for cell in row.strip("|").split("|"))
    assert name == "digits_mlp"
    assert float(minmax) > 30 > float(clipped)
    assert abs(float(auto) - float(minmax) - float(gained)) < 0.15
