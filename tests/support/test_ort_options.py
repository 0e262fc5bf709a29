from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from helpers import toys

from onnx_trtcal.errors import ModelError
from onnx_trtcal.support.ort_options import session_options

if TYPE_CHECKING:
    from pathlib import Path


def test_external_weights_are_found_in_their_folder(tmp_path: Path) -> None:
    weight = np.arange(4096, dtype=np.float32).reshape(64, 64)
    proto = toys.model([toys.node("MatMul", "x w", "y")], {"x": ["n", 64]}, {"y": ["n", 64]}, {"w": weight})
    onnx.save(proto, str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    given = (tmp_path / "m.onnx").read_bytes()
    session = ort.InferenceSession(
        given, session_options(weights_folder=tmp_path), providers=["CPUExecutionProvider"]
    )
    rows = np.eye(64, dtype=np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": rows})[0], weight)


def test_without_optimization_every_node_stays(tmp_path: Path) -> None:
    proto = toys.model(
        [toys.node("Identity", "x", "a"), toys.node("Identity", "a", "b"), toys.node("Relu", "b", "y")],
        {"x": ["n", 2]},
        {"y": ["n", 2]},
    )
    ops = {}
    for optimize in (True, False):
        options = session_options(optimize=optimize)
        options.optimized_model_filepath = str(tmp_path / f"{optimize}.onnx")
        ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        ops[optimize] = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert ops == {True: ["Relu"], False: ["Identity", "Identity", "Relu"]}


def test_threads_and_silence() -> None:
    options = session_options(threads=3)
    assert (options.intra_op_num_threads, options.log_severity_level) == (3, 4)
    assert session_options().intra_op_num_threads == 0  # ONNX Runtime's own choice


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    library = str(tmp_path / "ops.so")
    with pytest.raises(ModelError, match="cannot load the custom-operator library") as refusal:
        session_options(custom_ops=[library])
    assert refusal.value.where == library and "--ort-custom-ops" in refusal.value.fix
