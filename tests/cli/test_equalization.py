"""`--equalize` on the command line: a model beside the cache, and a Q/DQ model in one go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import toys

from onnx_trtcal import read_cache
from onnx_trtcal.cli import main

MODELS = Path(__file__).resolve().parents[2] / "models"
MODEL, DATA = str(MODELS / "digits_resnet.onnx"), str(MODELS / "digits_calib")
FLAGS = ["--provider", "cpu", "--method", "entropy"]


def same_outputs(path: Path) -> bool:
    """Whether a model computes what the bundled one does."""
    feeds = {"input": np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)}
    one, other = (toys.run(onnx.load(each), feeds)[0] for each in (MODEL, path))
    return bool(np.abs(one - other).max() < 1e-5 * np.abs(one).max())


@pytest.mark.slow
def test_a_model_beside_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "d.cache"
    assert main(["calibrate", MODEL, DATA, "-o", str(cache), "--equalize", "free", "-v", *FLAGS]) == 0
    model = tmp_path / "digits_resnet.equalized.onnx"
    said = capsys.readouterr().out
    assert f"trtexec --onnx={model} --int8 --calib={cache}" in said
    assert "equalized the channels of" in said and "in the layers that read it" in said
    assert same_outputs(model)
    sidecar = json.loads(Path(f"{cache}.json").read_text())
    assert sidecar["model"]["file"] == model.name and sidecar["equalization"]["level"] == "free"
    names = {name for node in onnx.load(model).graph.node for name in node.output}
    # The cache is that of the model that was written: any verb takes the two together.
    assert names <= read_cache(cache).scales.keys() | {"logits"}
    int8 = tmp_path / "int8.onnx"
    assert main(["quantize", str(model), str(cache), "-o", str(int8)]) == 0
    assert main(["check", str(model), str(cache)]) == 0


@pytest.mark.slow
def test_the_model_goes_where_it_is_told(tmp_path: Path) -> None:
    model, cache = tmp_path / "other.onnx", tmp_path / "d.cache"
    flags = ["--equalize", "free", "--equalized-model", str(model), "-q", *FLAGS]
    assert main(["calibrate", MODEL, DATA, "-o", str(cache), *flags]) == 0
    assert same_outputs(model)


def test_never_over_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--equalize", "free", "--equalized-model", MODEL]
    assert main(["calibrate", MODEL, DATA, "-o", str(tmp_path / "d.cache"), *flags]) != 0
    assert "digits_resnet.onnx" in capsys.readouterr().err


def test_full_is_for_models_with_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", MODEL, DATA, "-o", str(tmp_path / "d.cache"), "--equalize", "full"])
    assert "--equalize" in capsys.readouterr().err


@pytest.mark.slow
def test_quantize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    int8 = tmp_path / "int8.onnx"
    assert main(["quantize", MODEL, DATA, "--equalize", "free", "--json", "-o", str(int8), *FLAGS]) == 0
    found = json.loads(capsys.readouterr().out)["equalization"]
    assert found["level"] == "free" and found["tensors"] and "held back" in found["verdict"]


def test_a_cache_is_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "d.cache"
    assert main(["calibrate", MODEL, DATA, "-o", str(cache), "-q", *FLAGS]) == 0
    assert main(["quantize", MODEL, str(cache), "--equalize", "free", "-o", str(tmp_path / "q.onnx")]) != 0
    assert "belongs to the model as it was" in capsys.readouterr().err


def test_a_path_without_the_flag_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--equalized-model", str(tmp_path / "m.onnx"), *FLAGS]
    assert main(["calibrate", MODEL, DATA, "-o", str(tmp_path / "d.cache"), *flags]) == 0
    assert "has no effect without --equalize" in capsys.readouterr().err
