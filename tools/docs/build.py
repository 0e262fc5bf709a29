"""Builds the documentation as HTML; a warning is an error.

    python tools/docs/build.py [OUT]      default: build/docs

Needs the extra `docs`: pip install -e '.[docs]'.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    from sphinx.cmd.build import main as sphinx_build

    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs"
    source = Path(__file__).resolve().parent
    # `-E`: what is generated from the code is not a file whose change Sphinx would see.
    status = sphinx_build(["-W", "--keep-going", "-E", "-q", "-d", f"{out}.doctrees", str(source), str(out)])
    if status == 0:
        pages = sum(1 for _ in out.rglob("*.html"))
        print(f"wrote {pages} pages: {out / 'index.html'}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
