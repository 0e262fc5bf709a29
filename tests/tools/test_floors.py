from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.mark.tools
def test_every_requirement_has_a_floor_that_it_allows() -> None:
    command = [sys.executable, str(ROOT / "tools" / "floors.py")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    pins = dict(line.split("==") for line in lines)
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(each) for each in project["dependencies"]]
    assert {each.name for each in wanted} <= pins.keys()
    assert all(each.specifier.contains(pins[each.name]) for each in wanted)
