"""Prints the lowest versions that pyproject.toml allows, as a constraints file for pip.

python tools/floors.py > floors.txt && pip install -e . -c floors.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def floors(pyproject: Path) -> list[str]:
    """One `package==version` for every requirement of the package itself and of what its tests read data with."""
    project = tomllib.loads(pyproject.read_text())["project"]
    found = []
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["data"]):
        match = re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", requirement)
        if match is None:
            raise SystemExit(f"{requirement!r} has no lower bound")
        found.append(f"{match[1]}=={match[2]}")
    return found


if __name__ == "__main__":
    print("\n".join(floors(Path(__file__).parent.parent / "pyproject.toml")))
