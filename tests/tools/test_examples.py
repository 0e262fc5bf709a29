"""Every example runs, says something, and writes what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from onnx_trtcal import read_cache

EXAMPLES = Path(__file__).resolve().parents[2] / "tools" / "examples"

# Example -> the files it leaves, and a line it prints.
EXPECTED = {
    "01_images": ({"digits_resnet.calibration.cache"}, "TRT-100300-EntropyCalibration2: 37 tensors"),
    "02_methods": ({"minmax.cache", "mixed.cache"}, "128 samples of shape"),
    "03_qdq": ({"digits_resnet.int8.onnx"}, "layers are quantized"),
    "04_cache_to_qdq": ({"calibration.cache", "digits_mlp.int8.onnx"}, "0 tensors without one"),
    "05_shards": ({"all.stats", "mse.cache"}, "the cache of the merged shards equals"),
}


def test_every_example_is_run_and_listed() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == set(EXPECTED)
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"| `{name}.py` |" in readme for name in found)


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_in_an_empty_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [f"{name}.py", str(out)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    files, line = EXPECTED[name]
    assert line in capsys.readouterr().out
    assert files <= {path.name for path in out.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for cache in out.glob("*.cache"):
        assert read_cache(cache).scales
