"""Runs that are killed leave whole files, and the same command ends as if nothing had happened: a short form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.tools
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and forks")
@pytest.mark.parametrize(
    ("jobs", "points", "kills"), [("calibrate, old", 2, 3), ("calibrate, in", 1, 1), ("cache", 1, 3)]
)
def test_a_few_kills_of_each_kind(jobs: str, points: int, kills: int) -> None:
    command = [sys.executable, str(ROOT / "tools" / "crash.py"), "--only", jobs, "--seed", "1"]
    command += ["--points", str(points), "--kills", str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    heads, *_, total = done.stdout.splitlines()[1:]
    columns = [each.strip() for each in heads.split("  ") if each.strip()]
    cells = total.split()
    assert columns[-9:-7] == ["kills", "too late"] and int(cells[1]) >= 3 * points + kills
    assert cells[-7:] == ["0"] * 7
