"""onnx_trtcal/README.md, the map of the package, is true of the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "onnx_trtcal"
MAP = (HOUSE / "README.md").read_text(encoding="utf-8")
PATH = re.compile(r"`([\w.]+(?:/[\w.]+)*(?:/|\.py|\.md))`")


def section(title: str) -> str:
    found = MAP.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def rows(title: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def exists(path: str, *folders: Path) -> bool:
    """Whether a path is there; for what the reader is to write, NAME, whether its folder is."""
    head, placeholder, _ = path.partition("NAME")
    assert not placeholder or head.endswith("/"), path
    wanted = head if placeholder else path
    is_there = Path.is_dir if wanted.endswith("/") else Path.is_file
    return any(is_there(folder / wanted) for folder in folders)


def rooms_in_order() -> list[str]:
    """The rooms and root modules of the rooms table, from top to bottom."""
    return [
        path.rstrip("/").removesuffix(".py") for cells in rows("Rooms") for path in PATH.findall(cells[0])
    ]


def test_every_path_on_the_map_exists() -> None:
    for cells in rows("Rooms"):
        room = PATH.findall(cells[0])[0]
        assert all(exists(path, HOUSE) for path in PATH.findall(cells[0])), cells
        assert all(exists(path, HOUSE / room) for path in PATH.findall(cells[1])), cells
    elsewhere = MAP.replace(section("Rooms"), "")
    assert len(PATH.findall(elsewhere)) > 20
    for path in PATH.findall(elsewhere):
        assert exists(path, *((ROOT,) if path.startswith(("tests/", "tools/")) else (HOUSE,))), path


def test_every_room_and_every_root_module_is_on_the_map_once() -> None:
    packages = [path.parent.name for path in HOUSE.glob("*/__init__.py")]
    modules = [path.stem for path in HOUSE.glob("*.py") if not path.stem.startswith("__")]
    assert sorted(rooms_in_order()) == sorted([*packages, *modules])


def test_the_rooms_are_in_the_order_of_the_import_contract() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    level = {name: at for at, names in enumerate(layers) for name in re.findall(r"\w+", names)}
    levels = [level[name] for name in rooms_in_order()]
    assert levels == sorted(levels)


def test_every_name_that_a_row_gives_is_in_the_files_it_names() -> None:
    for what, files, how in rows("Where do I add …"):
        sources = [HOUSE / path for path in PATH.findall(files) if "NAME" not in path]
        text = "".join(path.read_text(encoding="utf-8") for path in sources)
        names = set(re.findall(r"\b_?[A-Z]{2,}(?:_[A-Z]+)*\b|\b[A-Z][a-z]+[A-Z]\w+", how))
        names -= {"NAME"}
        assert names <= set(re.findall(r"\w+", text)), (what, names)
