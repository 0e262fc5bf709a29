"""`onnx-trtcal quantize`, and `--format qdq` beside the cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.compiler import Pattern, attention, needs_compiler, values

from onnx_trtcal.cli import main
from onnx_trtcal.trt.cache import Cache, read_cache, write_cache

MODELS = Path(__file__).resolve().parents[2] / "models"
MODEL, DATA = str(MODELS / "digits_resnet.onnx"), str(MODELS / "digits_calib")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("cache") / "d.cache")
    assert main([MODEL, DATA, "-q", "-o", path, "--provider", "cpu", "--max-samples", "16"]) == 0
    return path


@pytest.mark.slow
def test_from_data(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "q.onnx")
    assert main(["quantize", MODEL, DATA, "-o", path, "--provider", "cpu", "--max-samples", "16"]) == 0
    said = capsys.readouterr().out
    assert "10 of 10 Conv, ConvTranspose, Gemm and MatMul quantized" in said
    shapes = "--minShapes=input:1x1x8x8 --optShapes=input:8x1x8x8 --maxShapes=input:8x1x8x8"
    assert f"  TensorRT 11:       trtexec --onnx={path} {shapes}" in said
    assert f"  TensorRT 8 to 10:  trtexec --onnx={path} --int8 --fp16 {shapes}" in said
    assert main(["lint", path]) == 0


def test_from_a_cache_alone_and_back(cache: str, tmp_path: Path, capsys: Capture) -> None:
    path, again = str(tmp_path / "q.onnx"), str(tmp_path / "again.cache")
    assert main(["quantize", MODEL, cache, "-o", path]) == 0
    said = capsys.readouterr().out
    assert "34 tensors of the model have a scale in the cache" in said
    shapes = "--minShapes=input:1x1x8x8 --optShapes=input:8x1x8x8 --maxShapes=input:8x1x8x8"
    assert f"  TensorRT 11:       trtexec --onnx={path} {shapes}" in said
    assert main(["dequantize", path, "--cache", again, "-q"]) == 0
    assert Path(again).read_bytes() == Path(cache).read_bytes()


def test_without_a_sidecar_no_shapes_are_known(cache: str, tmp_path: Path, capsys: Capture) -> None:
    alone = tmp_path / "alone.cache"
    alone.write_bytes(Path(cache).read_bytes())
    assert main(["quantize", MODEL, str(alone), "-o", str(tmp_path / "q.onnx")]) == 0
    assert "--optShapes and --maxShapes for input: no data was run" in capsys.readouterr().out


def test_the_sidecar_of_other_bytes_is_not_believed(cache: str, tmp_path: Path, capsys: Capture) -> None:
    edited = tmp_path / "edited.cache"
    edited.write_bytes(Path(cache).read_bytes().replace(b"100300", b"100400"))
    (tmp_path / "edited.cache.json").write_bytes(Path(f"{cache}.json").read_bytes())
    assert main(["quantize", MODEL, str(edited), "-o", str(tmp_path / "q.onnx")]) == 0
    said = capsys.readouterr()
    assert "no data was run" in said.out and "edited.cache.json is not about this cache" in said.err


def test_a_cache_with_gaps_says_what_stays_float(cache: str, tmp_path: Path, capsys: Capture) -> None:
    scales = dict(read_cache(cache).scales)
    del scales["input"]
    partial = str(tmp_path / "partial.cache")
    write_cache(partial, Cache("TRT-8601-EntropyCalibration2", {**scales, "(Unnamed Layer* 1)": 1.0}))
    assert main(["quantize", MODEL, partial, "-o", str(tmp_path / "q.onnx")]) == 0
    said = capsys.readouterr()
    assert "1 float tensors have no scale: input" in said.err
    assert "1 entries name no tensor of the model: (Unnamed Layer* 1)" in said.out
    assert "9 of 10 Conv" in said.out and "/stem/conv/Conv" in said.out


def test_excluding_and_what_matches_nothing(cache: str, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--exclude", "Gemm", "--exclude", "/layer9/*", "-o", str(tmp_path / "q.onnx"), "--json"]
    assert main(["quantize", MODEL, cache, *flags]) == 0
    said = capsys.readouterr()
    layers = {layer["name"]: layer["left"] for layer in json.loads(said.out)["layers"]}
    assert [name for name, reason in layers.items() if reason] == ["/fc/Gemm"]
    assert "--exclude '/layer9/*' matches no node" in said.err


def test_flags_reach_the_model(cache: str, tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "q.onnx")
    flags = ["--weights", "float", "--high-precision", "fp16", "--opset", "21", "--no-share-concat"]
    assert main(["quantize", MODEL, cache, *flags, "-o", path]) == 0
    model = onnx.load(path)
    assert model.opset_import[0].version == 21
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    assert (
        f"  TensorRT 10:       trtexec --onnx={path} --stronglyTyped --minShapes=" in capsys.readouterr().out
    )


def test_layers_keep_their_names_in_float16(cache: str, tmp_path: Path, capsys: Capture) -> None:
    told = []
    for precision in ("fp32", "fp16"):
        flags = ["-o", str(tmp_path / "q.onnx"), "--high-precision", precision, "--json"]
        assert main(["quantize", MODEL, cache, *flags]) == 0
        told.append(json.loads(capsys.readouterr().out)["layers"])
    assert told[0] == told[1]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_verifying_what_was_written(cache: str, precision: str, tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "q.onnx")
    assert main(["quantize", MODEL, cache, "-o", path, "--verify", "--high-precision", precision]) == 0
    assert "verified: 10 of 10 quantized layers run in INT8, by the compiler" in capsys.readouterr().out
    assert main(["quantize", MODEL, cache, "-o", path, "--verify", "--json", "--gpu", "sm89"]) == 0
    verified = json.loads(capsys.readouterr().out)["verified"]
    assert verified["holds"] and len(verified["int8"]) == 10 and verified["gpu"] == "sm89"


@needs_compiler
@pytest.mark.slow
def test_verifying_names_the_layers_that_are_not_in_int8(tmp_path: Path, capsys: Capture) -> None:
    source, data = str(tmp_path / "qkv.onnx"), str(tmp_path / "data.npy")
    onnx.save(attention(packed=True), source)
    np.save(data, values(3, 20, 32, spread=1.0))
    flags = ["-o", str(tmp_path / "q.onnx"), "--provider", "cpu", "--verify"]
    assert main(["quantize", source, data, *flags, "--weights", "int8"]) == 1
    said = capsys.readouterr().out
    assert "not verified: 3 of 4 quantized layers run in INT8" in said
    assert "MatMul n_qkv: " in said and "add --exclude n_qkv" in said
    assert main(["quantize", source, data, *flags]) == 0


@needs_compiler
@pytest.mark.slow
def test_a_conv_transpose_is_undecided_unless_the_target_is_rtx(tmp_path: Path, capsys: Capture) -> None:
    source, data = str(tmp_path / "up.onnx"), str(tmp_path / "data.npy")
    pattern = Pattern()
    pattern.conv("x", "a", 24, 16)
    pattern.store("w", values(16, 20, 2, 2))
    pattern.op("ConvTranspose", "a w", "u", kernel_shape=[2, 2], strides=[2, 2])
    onnx.save(pattern.model("u"), source)
    np.save(data, values(3, 24, 10, 14))
    flags = ["-o", str(tmp_path / "q.onnx"), "--provider", "cpu", "--verify"]
    assert main(["quantize", source, data, *flags]) == 0
    said = capsys.readouterr().out
    assert "verified: 1 of 2 quantized layers run in INT8" in said
    assert (
        "ConvTranspose n_u: this compiler has no INT8 kernel for ConvTranspose; that of TensorRT may" in said
    )
    assert main(["quantize", source, data, *flags, "--target", "rtx"]) == 0
    said = capsys.readouterr().out
    assert "verified: 1 of 1 quantized layers" in said and "trtexec" not in said


def test_verifying_without_the_compiler_says_how_to_install_it(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("onnx_trtcal.trt.compiler.build._PACKAGE", "no_such_package")
    path = tmp_path / "q.onnx"
    assert main(["quantize", MODEL, cache, "-o", str(path), "--verify"]) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "pip install" in said[0]
    assert not path.exists()


def test_options_from_toml(cache: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "o.toml").write_text('[qdq]\nexclude = ["Gemm"]\nweights = "float"\n')
    flags = ["--config", str(tmp_path / "o.toml"), "-o", str(tmp_path / "q.onnx")]
    assert main(["quantize", MODEL, cache, *flags]) == 0
    assert "excluded by 'Gemm'" in capsys.readouterr().out
    (tmp_path / "o.toml").write_text("[qdq]\nexclud = []\n")
    assert main(["quantize", MODEL, cache, *flags]) == 1
    assert "did you mean 'exclude'" in capsys.readouterr().err


def test_beside_the_cache(tmp_path: Path, capsys: Capture) -> None:
    flags = ["--provider", "cpu", "--max-samples", "8", "--format", "qdq", "-o", str(tmp_path / "d.cache")]
    assert main([MODEL, DATA, *flags]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"d.cache", "d.cache.json", "digits_resnet.int8.onnx"}
    assert "10 of 10 Conv" in capsys.readouterr().out
    direct = str(tmp_path / "direct.onnx")
    assert main(["quantize", MODEL, str(tmp_path / "d.cache"), "-o", direct, "-q"]) == 0
    assert Path(direct).read_bytes() == (tmp_path / "digits_resnet.int8.onnx").read_bytes()


@pytest.mark.parametrize("output", ["model.onnx", "none/q.onnx"])
def test_bad_outputs_are_refused_before_the_work(tmp_path: Path, output: str, capsys: Capture) -> None:
    (tmp_path / "model.onnx").write_bytes(Path(MODEL).read_bytes())
    assert main(["quantize", str(tmp_path / "model.onnx"), DATA, "-o", str(tmp_path / output)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_rounding_on_data_is_said_and_leaves_scales_alone(tmp_path: Path, capsys: Capture) -> None:
    plain, path, seven = (str(tmp_path / name) for name in ("plain.onnx", "round.onnx", "seven.onnx"))
    arguments = [MODEL, DATA, "--provider", "cpu", "--max-samples", "12", "--method", "mse"]
    assert main(["quantize", *arguments, "-q", "-o", plain]) == 0
    capsys.readouterr()
    assert main(["quantize", *arguments, "--round", "-o", path]) == 0
    said = capsys.readouterr().out
    assert "rounding weights layer by layer on 12 samples, a third of them held back" in said
    assert "rounding: kept in " in said
    before, after = onnx.load(plain), onnx.load(path)
    assert [each.op_type for each in before.graph.node] == [each.op_type for each in after.graph.node]
    assert {each.key: each.value for each in before.metadata_props} == {
        each.key: each.value for each in after.metadata_props
    }
    assert before != after
    assert main(["quantize", *arguments, "-q", "--weight-bits", "7", "-o", seven]) == 0
    stored = [onnx.numpy_helper.to_array(each) for each in onnx.load(seven).graph.initializer]
    assert max(np.abs(each).max() for each in stored if each.dtype == np.int8 and each.ndim > 1) == 63
    capsys.readouterr()
    assert main(["quantize", *arguments, "--round", "--json", "-o", path]) == 0
    told = json.loads(capsys.readouterr().out)["rounding"]
    assert told["layers"] == 10
    assert told["after"] < told["before"]
    assert main(["evaluate", MODEL, DATA, "--qdq", path, "--provider", "cpu", "--max-samples", "12"]) == 0


def test_rounding_needs_data(cache: str, tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "q.onnx")
    assert main(["quantize", MODEL, cache, "--round", "-o", path]) == 1
    said = capsys.readouterr().err
    assert "round runs the model on samples, and a cache source has none" in said
    assert "to fix: give data" in said
    assert not Path(path).exists()
    assert main(["quantize", MODEL, cache, "--weight-bits", "5", "-o", path]) == 1
    assert "weight_bits is 5, wanted 8 or 7" in capsys.readouterr().err


def test_flags_that_concern_data_have_no_effect_on_other_scales_and_are_named(
    cache: str, tmp_path: Path, capsys: Capture
) -> None:
    stats, out = str(tmp_path / "s.stats"), ["-q", "-o", str(tmp_path / "q.onnx")]
    assert (
        main([MODEL, DATA, "-q", "--save-stats", stats, "-o", str(tmp_path / "c"), "--max-samples", "4"]) == 0
    )
    flags = [
        "--max-samples",
        "4",
        "--method",
        "mse",
        "--resize",
        "stretch",
        "--threads",
        "1",
        "--opset",
        "17",
    ]
    capsys.readouterr()
    assert main(["quantize", MODEL, stats, *out, *flags]) == 0
    assert (
        "warning: no effect on scales from statistics: --max-samples, --resize\n" in capsys.readouterr().err
    )
    assert main(["quantize", MODEL, cache, *out, *flags]) == 0
    said = "warning: no effect on scales from a cache: --method, --max-samples, --resize\n"
    assert said in capsys.readouterr().err
    for words in ([cache], [DATA, *flags]):
        assert main(["quantize", MODEL, *words, *out]) == 0
        assert "no effect" not in capsys.readouterr().err
