"""Files that the system does not give: whichever verb wants one, its error names the file and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal import Cache, write_cache
from onnx_trtcal.cli import main

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = Path(__file__).parents[2] / "models"
MODEL, DATA = str(MODELS / "digits_mlp.onnx"), str(MODELS / "digits_calib.npy")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a.onnx", ["lint", "a.onnx"]),
        ("b.cache", ["check", MODEL, "b.cache"]),
        ("a.log", ["check", MODEL, "a.cache", "--log", "a.log"]),
        ("a.stats", ["solve", "a.stats", MODEL, "-o", "out.cache"]),
        ("a.toml", [MODEL, DATA, "-o", "out.cache", "--config", "a.toml"]),
        ("a.txt", [MODEL, "a.txt", "-o", "out.cache"]),
        ("a.npy", [MODEL, "a.npy", "-o", "out.cache"]),
        ("map.csv", ["cache", "rename", "a.cache", "--map", "map.csv", "-o", "out.cache"]),
        ("l.csv", ["evaluate", MODEL, DATA, "--labels", "l.csv", "--calibrate-on", DATA]),
    ],
)
@pytest.mark.parametrize("fault", ["a link to itself", "missing"])
def test_the_error_names_the_file_and_a_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: Sequence[str],
    fault: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cache("a.cache", Cache("TRT-100300-EntropyCalibration2", {"input": 0.5}))
    if fault == "a link to itself":
        Path(name).symlink_to(name)
    status = main(arguments)
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert status in (1, 2)
    assert error[0].startswith("error: ")
    assert any(name in line for line in error)
    assert error[-1].startswith("  to fix: ")
    assert not Path("out.cache").exists()
