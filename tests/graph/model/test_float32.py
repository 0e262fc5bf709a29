"""A float64 or bfloat16 model in float32."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
from helpers import toys
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.graph.model.float32 import to_float32
from onnx_trtcal.graph.model.load import load

DOUBLE = TensorProto.DOUBLE


def wide() -> onnx.ModelProto:
    """Every place that a type is stated in: weights, attributes, a subgraph, values that float32 cannot hold."""
    constant = toys.node(
        "Constant", [], "c", value=numpy_helper.from_array(np.array([1e300, -1e300, np.inf, 0.1]))
    )
    info = [helper.make_tensor_value_info("o", DOUBLE, None)]
    inner = helper.make_graph([toys.node("Add", "k c", "o")], "b", [], info)
    nodes = [
        constant,
        toys.node("Cast", "i", "k", to=DOUBLE),
        toys.node("If", "flag", "y", then_branch=inner, else_branch=inner),
        toys.node("EyeLike", "m", "e", dtype=DOUBLE),
    ]
    proto = toys.model(
        nodes,
        {"i": (4,), "m": (2, 2)},
        ["y", "e"],
        {"flag": np.array(True)},
        dtypes={"i": TensorProto.INT32, "m": DOUBLE, "y": DOUBLE, "e": DOUBLE},
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("k", DOUBLE, [4]))
    return proto


def test_every_statement_of_the_type_is_changed_and_the_model_is_not():
    model = load(wide())
    made = to_float32(model)
    assert model.proto == wide()
    text = onnx.printer.to_text(made.proto)
    assert "double" not in text
    assert {spec.name: spec.dtype for spec in made.inputs} == {"i": np.int32, "m": np.float32}
    assert DOUBLE not in made.elem_types.values() and made.sha256 == model.sha256
    y, e = toys.run(made.proto, {"i": np.arange(4, dtype=np.int32), "m": np.zeros((2, 2), np.float32)})
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(y, np.array([largest, -largest, np.inf, np.float32(0.1) + 3], np.float32))
    np.testing.assert_array_equal(e, np.eye(2, dtype=np.float32))


def test_external_weights_are_read(tmp_path):
    w = np.random.default_rng(0).standard_normal((64, 8))
    proto = toys.model(
        [toys.node("MatMul", "x w", "y")], {"x": (1, 64)}, ["y"], {"w": w}, dtypes={"x": DOUBLE, "y": DOUBLE}
    )
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    made = to_float32(load(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(
        numpy_helper.to_array(made.proto.graph.initializer[0]), w.astype(np.float32)
    )
    assert dataclasses.replace(made, proto=onnx.ModelProto()).path == tmp_path / "m.onnx"
