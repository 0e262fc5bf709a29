"""A cache against the network that NVIDIA's parser makes."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import onnx
import pytest
from helpers import toys
from helpers.compiler import needs_compiler, quantized, values

from onnx_trtcal import Cache, Options, calibrate, check_parser, write_cache
from onnx_trtcal.cli import main
from onnx_trtcal.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
HEADER = "TRT-100300-EntropyCalibration2"


def dense() -> onnx.ModelProto:
    """x -> Gemm -> y -> Softmax -> z, before opset 13, where the parser flattens what the Softmax reads."""
    nodes = [
        toys.node("Gemm", "x w b", "y", name="fc"),
        toys.node("Softmax", "y", "z", name="soft", axis=1),
    ]
    return toys.model(nodes, {"x": ["n", 6]}, ["z"], {"w": values(6, 4), "b": values(4, seed=1)}, opset=11)


DATA = [values(6, seed=seed, spread=2.0) for seed in range(8)]


def cache_of(names: str) -> Cache:
    return calibrate(dense(), DATA, Options(provider="cpu", parser_names=names)).cache()


@needs_compiler
@pytest.mark.slow
def test_what_each_choice_of_names_leaves_open() -> None:
    off, plain, everything = (check_parser(dense(), cache_of(names)) for names in ("off", "plain", "all"))
    assert {gap.tensor: (gap.kind, gap.costs) for gap in off.gaps} == {
        "fc_output": ("inside a layer", "maybe"),
        "soft_output": ("inside a layer", "maybe"),
        "ONNXTRT_flattenTensor_output": ("helper", "maybe"),
        "ONNXTRT_Broadcast_output": ("broadcast", "no"),
        "w_output": ("constant", "no"),
        "b_output": ("constant", "no"),
    }
    assert [gap.tensor for gap in plain.gaps] == ["ONNXTRT_flattenTensor_output", "ONNXTRT_Broadcast_output"]
    assert everything.gaps == () and everything.complete and not plain.complete and not off.complete
    assert not off.strangers and not plain.strangers and not everything.strangers
    assert set(off.covered) == {"x", "y", "z"}


@needs_compiler
@pytest.mark.slow
def test_entries_that_are_not_in_the_network() -> None:
    scales = {"elsewhere": 1.0, "ONNXTRT_Broadcast_77_output": 1.0, "b": 1.0, "x": float("inf")}
    coverage = check_parser(dense(), Cache(HEADER, scales))
    assert {name: why.split(",")[0] for name, why in coverage.strangers.items()} == {
        "elsewhere": "the model has no such tensor",
        "ONNXTRT_Broadcast_77_output": "a helper layer's tensor",
        "b": "a tensor of the model that this network lacks",
    }
    assert coverage.covered == ()
    first = next(gap for gap in coverage.gaps if gap.tensor == "x")
    assert first.costs == "yes" and "infinite" in first.why
    assert [gap.costs for gap in coverage.gaps] == sorted(
        (g.costs for g in coverage.gaps), reverse=True, key=["no", "maybe", "yes"].index
    )


@needs_compiler
@pytest.mark.slow
def test_a_model_that_the_parser_refuses() -> None:
    made = toys.node("NoSuchOp", "x", "y", name="odd", domain="nowhere")
    model = toys.model([made], {"x": [2, 3]}, {"y": [2, 3]})
    model.opset_import.append(onnx.helper.make_opsetid("nowhere", 1))
    with pytest.raises(ModelError, match="NVIDIA's parser refuses the model") as caught:
        check_parser(model, Cache(HEADER, {"x": 1.0}))
    assert "odd" in str(caught.value)


@needs_compiler
@pytest.mark.slow
def test_the_verb(tmp_path: Path, capsys: Capture) -> None:
    model, cache = str(tmp_path / "m.onnx"), str(tmp_path / "m.cache")
    onnx.save(dense(), model)
    write_cache(cache, cache_of("plain"))
    assert main(["check", "--parser", model, cache]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "not covered" and lines[1].startswith(
        "  7 of 9 float tensors have an entry, in the network"
    )
    assert "      ONNXTRT_flattenTensor_output: holds the values of 'y'" in "\n".join(lines)
    assert not any("ONNXTRT_Broadcast_output" in line for line in lines)
    assert main(["check", model, cache, "--parser", "-v"]) == 1
    assert "ONNXTRT_Broadcast_output: a constant" in capsys.readouterr().out
    write_cache(cache, cache_of("all"))
    assert main(["check", "--parser", model, cache, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["complete"] and said["gaps"] == [] and len(said["covered"]) == 9


@needs_compiler
@pytest.mark.slow
def test_the_wrong_model_and_one_that_reads_no_cache(tmp_path: Path, capsys: Capture) -> None:
    model, cache = str(tmp_path / "m.onnx"), str(tmp_path / "m.cache")
    onnx.save(quantized(dense()), model)
    write_cache(cache, cache_of("plain"))
    main(["check", "--parser", model, cache])
    said = capsys.readouterr().err
    assert "quantized already (DequantizeLinear, QuantizeLinear)" in said and "another model" not in said
    onnx.save(dense(), model)
    write_cache(cache, Cache(HEADER, {"x": 1.0, "their": 1.0, "other": 1.0}))
    assert main(["check", "--parser", model, cache]) == 1
    said = capsys.readouterr().err
    assert "looks like another model's cache" in said and "quantized already" not in said


@pytest.mark.parametrize("verb", ["check", "calibrate"])
def test_without_the_package(
    verb: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, cache = str(tmp_path / "m.onnx"), str(tmp_path / "m.cache")
    onnx.save(dense(), model)
    write_cache(cache, Cache(HEADER, {"x": 1.0}))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorrt_rtx" else real(name, *rest)
    )
    words = {
        "check": ["check", "--parser", model, cache],
        "calibrate": ["calibrate", model, str(tmp_path), "--parser-names", "all", "-q"],
    }
    assert main(words[verb]) == 3
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "pip install 'onnx_trtcal[compiler]'" in said.err


@pytest.mark.parametrize("flag", ["--log", "--write-completed"])
def test_other_checks_are_run_by_themselves(flag: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["check", "--parser", "m.onnx", "m.cache", flag, str(tmp_path / "other")]) == 1
    assert f"--parser and {flag} are two checks" in capsys.readouterr().err
