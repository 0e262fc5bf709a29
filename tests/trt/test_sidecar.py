"""The JSON beside a cache, read back, and that of caches made from others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.picking import picking, stacks
from helpers.small import CPU, network, samples

from onnx_trtcal import QdqOptions, calibrate, quantize, read_cache, write_cache
from onnx_trtcal.cli import main
from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.trt.sidecar import read_sidecar, sidecar_path, write_sidecar

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "a.cache"
    calibrate(network(), samples(20), CPU).write_cache(path)
    return path


def content(path: Path) -> dict[str, object]:
    return dict(json.loads(sidecar_path(path).read_text()))


def test_shapes_are_those_of_batches_of_one_sample_and_more(cache: Path) -> None:
    assert content(cache)["shapes"] == {"x": {"min": [1, 2, 4, 4], "max": [1, 2, 4, 4], "batch_axis": 0}}
    inputs = load(network()).inputs
    sidecar = read_sidecar(cache)
    assert sidecar.shapes(inputs) == {"x": SeenShapes((1, 2, 4, 4), (8, 2, 4, 4), 0)}
    assert sidecar.shapes(inputs, 64)["x"].largest == (20, 2, 4, 4)
    assert sidecar.shapes(load(network(3)).inputs) == {}


def test_shapes_of_different_samples_span_them_whatever_the_batches(tmp_path: Path) -> None:
    model = toys.model([toys.node("Relu", "x", "y")], {"x": ["n", "w", 4]}, {"y": ["n", "w", 4]})
    data = [np.ones((width, 4), np.float32) * width for width in (5, 2, 9, 9, 3)]
    for size in (1, 4):
        calibrate(model, data, replace(CPU, batch_size=size)).write_cache(tmp_path / f"{size}.cache")
    assert content(tmp_path / "1.cache") == content(tmp_path / "4.cache")
    shapes = read_sidecar(tmp_path / "1.cache").shapes(load(model).inputs)
    assert shapes == {"x": SeenShapes((1, 2, 4), (5, 9, 4), 0)}


def test_an_input_fed_as_it_is_has_no_batch_axis(tmp_path: Path) -> None:
    model = toys.model([toys.node("Softmax", "x", "y", axis=0)], {"x": ["time", 4]}, {"y": ["time", 4]})
    data = [np.ones((steps, 4), np.float32) * steps for steps in (7, 3)]
    calibrate(model, data, CPU).write_cache(tmp_path / "a.cache")
    assert content(tmp_path / "a.cache")["shapes"] == {"x": {"min": [3, 4], "max": [7, 4]}}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"cache": 3}', "\udcff"])
def test_a_file_that_is_not_about_the_cache_is_ignored_with_a_reason(cache: Path, text: str) -> None:
    sidecar_path(cache).write_bytes(text.encode("utf-8", "surrogateescape"))
    sidecar = read_sidecar(cache)
    assert not sidecar.content and "is ignored" in sidecar.problem
    assert not sidecar.unseen and not sidecar.shapes(load(network()).inputs)
    sidecar_path(cache).unlink()
    assert read_sidecar(cache).problem == ""


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("shapes", {"x": {"min": "?"}}, "the shapes of 'x' are not two lists of sizes"),
        ("shapes", {"z": []}, "the shapes of 'z' are not two lists of sizes"),
        ("shapes", {"w": {"min": [1], "max": [None]}}, "the shapes of 'w' are not two lists of sizes"),
        ("tensors", {"x": None}, "the entry of tensor 'x' is not an object"),
        ("skipped", {"x": 3}, "the reason why 'x' was skipped is not text"),
        ("data", {"samples": "many"}, "the number of samples is not one"),
    ],
)
def test_a_sidecar_with_entries_of_another_form_is_ignored(
    cache: Path, key: str, value: object, what: str
) -> None:
    sidecar_path(cache).write_text(json.dumps({**content(cache), key: value}))
    sidecar = read_sidecar(cache)
    assert what in sidecar.problem and "is ignored" in sidecar.problem
    assert not sidecar.content


def test_set_version_gives_the_files_that_a_run_for_that_version_gives(cache: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.cache"
    calibrate(network(), samples(20), replace(CPU, trt_version="10.9")).write_cache(wanted)
    out = tmp_path / "out.cache"
    assert main(["cache", "set-version", str(cache), "--trt-version", "10.9", "-o", str(out), "-q"]) == 0
    assert out.read_bytes() == wanted.read_bytes()
    assert sidecar_path(out).read_bytes() == sidecar_path(wanted).read_bytes()
    assert main(["cache", "set-version", str(cache), "--trt-version", "10.9", "-i", "-q"]) == 0
    assert sidecar_path(cache).read_bytes() == sidecar_path(wanted).read_bytes()


def test_a_cache_without_a_sidecar_gets_none(cache: Path, tmp_path: Path) -> None:
    sidecar_path(cache).unlink()
    out = tmp_path / "out.cache"
    assert main(["cache", "set-version", str(cache), "--trt-version", "8.6", "-o", str(out), "-q"]) == 0
    assert not sidecar_path(out).exists()


def test_a_sidecar_of_other_bytes_does_not_follow(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_bytes(cache.read_bytes().replace(b"EntropyCalibration2", b"MinMaxCalibration"))
    out = tmp_path / "out.cache"
    assert main(["cache", "set-version", str(cache), "--trt-version", "8.6", "-o", str(out)]) == 0
    assert "a.cache.json is not about this cache" in capsys.readouterr().err
    assert not sidecar_path(out).exists()


def test_a_sidecar_is_not_overwritten_as_the_target(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--trt-version", "8.6", "-o", str(sidecar_path(cache))]
    assert main(["cache", "set-version", str(cache), *flags]) == 1
    assert "would overwrite an input" in capsys.readouterr().err


def test_rename_renames_in_every_place(cache: Path, tmp_path: Path) -> None:
    names, out = tmp_path / "map.json", tmp_path / "out.cache"
    names.write_text(json.dumps({"x": "image", "relu": "act"}))
    assert main(["cache", "rename", str(cache), "--map", str(names), "-o", str(out), "-q"]) == 0
    old, new = content(cache), content(out)
    assert list(new["shapes"]) == ["image"]
    renamed = {"x": "image", "relu": "act"}
    assert list(new["tensors"]) == [renamed.get(name, name) for name in old["tensors"]]
    for name, item in old["tensors"].items():
        wanted = {**item, "source": renamed.get(item["source"], item["source"])}
        assert new["tensors"][renamed.get(name, name)] == wanted
    assert (new["model"], new["data"], new["options"]) == (old["model"], old["data"], old["options"])
    assert not read_sidecar(out).problem


def test_merge_keeps_of_each_tensor_what_its_scale_came_from(cache: Path, tmp_path: Path) -> None:
    other, plain, out = (tmp_path / f"{name}.cache" for name in ("other", "plain", "out"))
    model = network()
    calibrate(model, [2 * each for each in samples(5)], replace(CPU, method="minmax")).write_cache(other)
    plain.write_text("TRT-100300-EntropyCalibration2\nextra: 3f800000\n")
    files = [str(cache), str(other), str(plain)]
    assert main(["cache", "merge", *files, "-o", str(out), "--prefer", "larger", "-q"]) == 0
    said = content(out)
    assert said["tensors"]["x"] == content(other)["tensors"]["x"] and "extra" not in said["tensors"]
    assert [each and each["data"]["samples"] for each in said["merged"]] == [20, 5, None]
    assert read_sidecar(out).shapes(load(model).inputs)["x"].smallest == (1, 2, 4, 4)
    assert not read_sidecar(out).problem


def test_what_was_never_seen_stays_so_through_every_verb(tmp_path: Path) -> None:
    path, model = tmp_path / "a.cache", picking(100)
    calibrate(model, stacks(4), CPU).write_cache(path)
    unseen = read_sidecar(path).unseen
    out = tmp_path / "b.cache"
    assert main(["cache", "set-version", str(path), "--trt-version", "8.6", "-o", str(out), "-q"]) == 0
    assert main(["cache", "merge", str(path), str(out), "-o", str(tmp_path / "c.cache"), "-q"]) == 0
    for each in (out, tmp_path / "c.cache"):
        assert read_sidecar(each).unseen == unseen == {"picked", "hidden", "kept", "y"}


def test_a_completed_cache_knows_what_it_was_completed_from(tmp_path: Path) -> None:
    nodes = [
        toys.node("Slice", "x zero zero", "none"),
        toys.node("Relu", "none", "kept"),
        toys.node("Reshape", "kept shape", "flat"),
        toys.node("MatMul", "flat w", "y"),
        toys.node("MatMul", "x w", "z"),
    ]
    constants = {"w": np.eye(16, dtype=np.float32), "zero": np.array([0]), "shape": np.array([-1, 16])}
    model = toys.model(nodes, {"x": ["rows", 16]}, {"y": None, "z": None}, constants)
    onnx.save(model, tmp_path / "m.onnx")
    path, out = tmp_path / "a.cache", tmp_path / "b.cache"
    calibration = calibrate(model, [np.ones((5, 16), np.float32)], CPU)
    calibration.write_cache(path)
    cache = read_cache(path)
    partial = replace(cache, scales={name: s for name, s in cache.scales.items() if name != "flat"})
    said = content(path)
    del said["tensors"]["flat"]
    write_cache(path, partial)
    write_sidecar(path, path.read_bytes(), said)
    main(["check", str(tmp_path / "m.onnx"), str(path), "--write-completed", str(out), "-q"])
    assert read_cache(out).scales["flat"] == cache.scales["kept"]
    assert "flat" in read_sidecar(out).unseen
    made = quantize(model, out, CPU, QdqOptions(min_channels=1, gemv=True))
    assert {layer.name: bool(layer.reason) for layer in made.layers} == {"y": True, "z": False}
