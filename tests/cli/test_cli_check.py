"""`onnx-trtcal check`: exit status, words and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.toys import model, node

from onnx_trtcal.cli import main
from onnx_trtcal.trt.cache import Cache, read_cache, write_cache
from onnx_trtcal.trt.sidecar import write_sidecar

HEADER = "TRT-8001-EntropyCalibration2"
LOG = "[V] [TRT] ConstShuffleFusion: Fusing slope with (Unnamed Layer* 5) [Shuffle]\n"


@pytest.fixture
def net(tmp_path: Path) -> str:
    proto = model(
        [node("PRelu", "x slope", "y"), node("Flatten", "y", "z")],
        {"x": [1, 4]},
        ["z"],
        {"slope": np.array([0.25], np.float32)},
    )
    onnx.save(proto, tmp_path / "m.onnx")
    (tmp_path / "build.log").write_text(
        LOG + "[V] [TRT] INT8 Inference Tensor scales and zero-points: x scale and zero-point "
        "Quantization(scale: {1,}, zero-point: {})\n"
    )
    return str(tmp_path / "m.onnx")


def cache(tmp_path: Path, **scales: float) -> str:
    write_cache(tmp_path / "c.cache", Cache(HEADER, scales))
    return str(tmp_path / "c.cache")


def test_covered(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", net, cache(tmp_path, x=1.0, y=1.0, z=1.0)]) == 0
    printed = capsys.readouterr().out
    assert "3 float tensors have an entry" in printed
    assert printed.splitlines()[-1] == "covered"


def test_not_covered(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cache(tmp_path, x=0.0, y=1.0, stranger=1.0)
    assert main(["check", net, path]) == 1
    said = capsys.readouterr()
    assert "1 lack one, which costs INT8:\n    z: " in said.out
    assert "[can be 1, the entry of 'y']" in said.out
    assert said.out.splitlines()[-1] == "not covered"
    assert "1 entries name no tensor of this model" in said.err
    assert "scale is 0" in said.err
    assert main(["check", net, path, "-q"]) == 1
    assert capsys.readouterr().out == "not covered\n"


def test_another_model_s_cache_is_told_first(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache(tmp_path, x=1.0, conv1=1.0, conv2=1.0)
    assert main(["check", net, path]) == 1
    said = capsys.readouterr()
    first = f"warning: this looks like another model's cache: 2 of its 3 entries name no tensor of {net}"
    assert said.err.splitlines() == [first]
    made = {"model": {"file": "resnet.onnx"}}
    write_sidecar(path, Path(path).read_bytes(), made)
    assert main(["check", net, path]) == 1
    assert f"{first}; its sidecar says that it was made from resnet.onnx" in capsys.readouterr().err
    assert main(["check", net, cache(tmp_path, x=1.0, y=1.0, z=1.0, odd=1.0)]) == 0
    assert "another model's" not in capsys.readouterr().err


def test_what_a_scale_of_zero_stands_for(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache(tmp_path, x=0.0, y=0.0, z=1.0)
    assert main(["check", net, path]) == 0
    assert "only zeros or no value at all" in capsys.readouterr().err
    tensors = {
        "x": {"threshold": 0.0},
        "y": {"threshold": 0.0, "values": 0},
        "z": {"threshold": 0.0, "values": 0},
    }
    write_sidecar(path, Path(path).read_bytes(), {"tensors": tensors})
    assert main(["check", net, path]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("because calibration saw only zeros: x")
    assert said[1].startswith("warning: tensors 'y', 'z': no finite value in any sample") and len(said) == 2


def test_completed(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out, log = cache(tmp_path, x=1.0, y=2.0), str(tmp_path / "out.cache"), str(tmp_path / "build.log")
    assert main(["check", net, path, "--log", log, "--write-completed", out]) == 1
    assert "3 scales added, 0 that may cost INT8 still missing" in capsys.readouterr().out
    assert read_cache(out).scales["z"] == 2.0
    assert main(["check", net, out, "--log", log]) == 0


def test_json(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cache(tmp_path, x=float("inf"), y=2.0)
    assert main(["check", net, path, "--log", str(tmp_path / "build.log"), "--json"]) == 1
    account = json.loads(capsys.readouterr().out)
    assert (account["complete"], account["covered"]) == (False, ["y"])
    assert account["gaps"][0]["tensor"] == "x"
    assert account["triage"]["differing"] == [["x", None, 1.0]]


def test_log_of_another_cache(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cache(tmp_path, x=3.0, y=2.0, z=2.0, **{"(Unnamed Layer* 5) [Shuffle]_output": 1.0})
    assert main(["check", net, path, "--log", str(tmp_path / "build.log")]) == 0
    said = capsys.readouterr()
    assert "log belongs to a build with another cache: 1 scales" in said.err
    assert (
        "(Unnamed Layer* 5) [Shuffle]_output has 1; the largest magnitude of slope / 127 is 0.0019685"
        in said.out
    )


@pytest.mark.parametrize("given", ["m.onnx", "c.cache", "build.log"])
def test_no_input_is_overwritten(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    path = cache(tmp_path, x=1.0)
    before = (tmp_path / given).read_bytes()
    flags = ["--log", str(tmp_path / "build.log"), "--write-completed", str(tmp_path / given)]
    assert main(["check", net, path, *flags]) == 1
    assert "overwrite an input" in capsys.readouterr().err
    assert (tmp_path / given).read_bytes() == before
