from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
from helpers import toys
from helpers.small import CPU, network, samples, write_folder

from onnx_trtcal import calibrate
from onnx_trtcal.options import Preprocess
from onnx_trtcal.provenance import EQUALIZED_KEY, sidecar_bytes
from onnx_trtcal.trt.cache import dumps

if TYPE_CHECKING:
    from pathlib import Path


def test_says_where_every_scale_came_from(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(network(), str(path))
    calibration = calibrate(path, samples(5), replace(CPU, method_for=("Softmax=minmax",)))
    cache = dumps(calibration.cache())
    content = json.loads(sidecar_bytes(calibration.provenance, cache))
    assert content["cache"] == {
        "sha256": hashlib.sha256(cache).hexdigest(),
        "header": "TRT-100300-EntropyCalibration2",
    }
    assert content["model"] == {"file": "model.onnx", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert content["data"]["samples"] == 5
    assert content["options"]["method_for"] == ["Softmax=minmax"]
    assert content["versions"]["onnx_trtcal"] and content["versions"]["onnx"]
    assert list(content["tensors"]) == list(calibration.scales)
    for name, item in calibration.scales.items():
        fields = content["tensors"][name]
        assert fields["scale"] == item.scale and fields["threshold"] == item.threshold
        assert (
            fields["method"] == item.method
            and fields["source"] == item.source
            and fields["how"] == item.reason
        )
    assert content["tensors"]["y"]["method"] == "minmax"


def test_has_no_word_of_how_the_work_was_cut_up(tmp_path: Path) -> None:
    data = samples(12)
    plain = calibrate(network(), data, CPU)
    other = calibrate(
        network(),
        write_folder(tmp_path, [*data, *samples(3, seed=9)]),
        replace(CPU, batch_size=5, threads=2, memory_limit=4000, checkpoint_every=2, max_samples=12),
    )
    assert sidecar_bytes(plain.provenance, b"c\n") == sidecar_bytes(other.provenance, b"c\n")


def test_says_how_images_were_prepared() -> None:
    options = replace(CPU, preprocess=Preprocess(mean=(0.5,)))
    content = json.loads(sidecar_bytes(calibrate(network(), samples(1), options).provenance, b"c\n"))
    assert content["options"]["preprocess"] == {"mean": [0.5]}


def test_of_another_format_names_it() -> None:
    calibration = calibrate(network(), samples(1), CPU)
    content = json.loads(sidecar_bytes(calibration.provenance, b"\xff\x00", "ort-flatbuffers"))
    assert content["cache"]["format"] == "ort-flatbuffers" and "header" not in content["cache"]
    assert content["model"]["file"] is None


def test_says_what_has_no_scale_and_why() -> None:
    model = toys.model(
        [toys.node("Relu", "x", "y"), toys.node("ArgMax", "y", "best")],
        {"x": ["n", 4]},
        {"y": ["n", 4], "best": ["n", 4]},
        dtypes={"best": onnx.TensorProto.INT64},
    )
    content = json.loads(sidecar_bytes(calibrate(model, [np.ones(4, np.float32)], CPU).provenance, b"c\n"))
    assert content["skipped"] == {"best": "integer"}


def test_half_of_a_character_in_what_a_model_says_of_itself_is_replaced() -> None:
    model = network()
    model.metadata_props.add(key=EQUALIZED_KEY, value='{"level": "\\ud800", "name": "ä"}')
    calibration = calibrate(model, samples(1), CPU)
    content = json.loads(sidecar_bytes(calibration.provenance, b"c\n").decode())
    assert content["equalization"] == {"level": "?", "name": "ä"}
