"""The wheel and the sdist, installed into environments of their own and run where no checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.tools]


def call(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both distributions, built from a copy of the files that the repository tracks."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "onnx_trtcal", source / "onnx_trtcal", ignore=shutil.ignore_patterns("__pycache__")
    )
    target = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "hatchling", "build", "-d", target, cwd=source)
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def installed(package: Path, folder: Path) -> Path:
    """The programs of a new environment with the package, whose dependencies are those of this one."""
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    # A plain line only adds a folder: an editable install over there is not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    flags = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--no-compile", "-q")
    call(sys.executable, "-m", "pip", "--python", python, "install", *flags, package, cwd=folder)
    return programs


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_runs_outside_the_checkout(kind: str, built: dict[str, Path], tmp_path: Path) -> None:
    programs = installed(built[kind], tmp_path / "env")
    work = tmp_path / "work"
    work.mkdir()
    for name in ("digits_mlp.onnx", "digits_calib.npy"):
        shutil.copy(ROOT / "models" / name, work)
    where = call(
        programs / "python", "-c", "import onnx_trtcal; print(onnx_trtcal.__file__)", cwd=work
    ).stdout
    assert where.startswith(str(tmp_path / "env"))
    assert call(programs / "onnx-trtcal", "--version", cwd=work).stdout.startswith("onnx-trtcal ")
    few = ("--max-samples", "2", "--method", "minmax", "--check-samples", "0", "-q")
    call(programs / "onnx-trtcal", "digits_mlp.onnx", "digits_calib.npy", "-o", "a.cache", *few, cwd=work)
    call(programs / "python", "-m", "onnx_trtcal", "quantize", "digits_mlp.onnx", "a.cache", "-q", cwd=work)
    assert {"a.cache", "a.cache.json", "digits_mlp.int8.onnx"} <= {path.name for path in work.iterdir()}


def test_both_hold_the_package_and_say_what_it_is(built: dict[str, Path]) -> None:
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "onnx_trtcal").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert ours <= set(wheel.namelist())
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(wheel.read(metadata).decode())
        assert any(name.endswith("licenses/onnx_trtcal/LICENSE") for name in wheel.namelist())
    assert about["License-Expression"] == "Apache-2.0" and about["Author"] and about["Project-URL"]
    with tarfile.open(built["sdist"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert ours | {"README.md", "pyproject.toml", "PKG-INFO"} <= names
