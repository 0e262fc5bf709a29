"""What ONNX Runtime runs of a model: asked, told apart, and worked around."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from helpers import toys
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.graph.model import runnable
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.model.runnable import compared_line, find_runnable, runnable_up_to

W = np.linspace(-1, 1, 36, dtype=np.float32).reshape(2, 2, 3, 3)


def chain(*ops: str, dtype=TensorProto.FLOAT, domains=(), weights=W) -> onnx.ModelProto:
    """x through one op after another, each of which makes t1, t2 …; "domain:Op" for other domains."""
    nodes = []
    for at, op in enumerate(ops):
        name, domain = op.split(":")[-1], op.rpartition(":")[0]
        inputs = f"t{at} w" if name == "Conv" else f"t{at}"
        nodes.append(toys.node(name, inputs, f"t{at + 1}", domain=domain))
    last = f"t{len(ops)}"
    proto = toys.model(
        nodes, {"t0": (1, 2, 8, 8)}, {last: None}, opset=22, ir_version=10, dtypes={"t0": dtype, last: dtype}
    )
    proto.graph.initializer.append(
        helper.make_tensor("w", dtype, W.shape, weights.ravel())
        if dtype == TensorProto.BFLOAT16
        else numpy_helper.from_array(weights.astype(helper.tensor_dtype_to_np_dtype(dtype)), "w")
    )
    proto.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
    return proto


def test_a_model_that_runs_is_given_back_itself():
    model = load(chain("Conv", "Relu"))
    found = find_runnable(model)
    assert found.model is model and not found.stops and not found.beyond and not found.converted


@pytest.mark.parametrize("domains", [("acme",), ()])
def test_unknown_operators_of_any_kind_end_the_part(domains):
    proto = chain("Conv", "acme:Odd", "Relu", "EfficientNMS_TRT", domains=domains)
    found = find_runnable(load(proto))
    assert found.model.outputs == ("t1",)
    assert next(iter(found.stops.items())) == ("t2", "'t2' (acme:Odd)")
    assert set(found.beyond) == {"t2", "t3", "t4"}
    assert runnable_up_to(load(proto), (), tuple(found.stops)) == found
    assert "compared: 't1'" in compared_line(found)


def test_an_operator_that_only_has_no_kernel_is_found_by_its_node():
    # ONNX Runtime knows this plugin's schema, and has no implementation of it.
    proto = toys.model(
        [toys.node("Relu", "b", "r"), toys.node("EfficientNMS_TRT", "r s", "n db ds dc")],
        {"b": (1, 20, 4), "s": (1, 20, 3)},
        ["n", "db", "ds", "dc"],
        dtypes={"n": TensorProto.INT32, "dc": TensorProto.INT32},
    )
    found = find_runnable(load(proto))
    assert found.stops == {"n": "'n' (EfficientNMS_TRT)"} and found.model.outputs == ("r",)
    assert not found.converted


def test_until_hides_a_plugin_from_the_runtime(monkeypatch):
    asked = []
    real = runnable.load_fault
    monkeypatch.setattr(runnable, "load_fault", lambda *a, **k: asked.append(a[0]) or real(*a, **k))
    found = find_runnable(load(chain("Conv", "Relu", "acme:Odd", domains=("acme",))), ("t1",))
    assert found.model.outputs == ("t1",) and not found.stops and len(asked) == 1


@pytest.mark.parametrize(
    ("dtype", "said"), [(TensorProto.DOUBLE, "float64"), (TensorProto.BFLOAT16, "bfloat16")]
)
def test_types_without_kernels_run_as_float32(dtype, said):
    model = load(chain("Conv", "Relu", dtype=dtype))
    found = find_runnable(model, gpu=False)
    assert f"no kernel for 't1' (Conv) in {said}" in found.converted and not found.beyond
    assert [spec.dtype for spec in found.model.inputs] == [np.dtype(np.float32)]
    assert model.proto.graph.input[0].type.tensor_type.elem_type == dtype
    x = np.random.default_rng(1).standard_normal((1, 2, 8, 8)).astype(np.float32)
    ours = toys.run(found.model.proto, {"t0": x})[0]
    weights = numpy_helper.to_array(model.proto.graph.initializer[0]).astype(np.float32)
    wanted = toys.run(chain("Conv", "Relu", weights=weights), {"t0": x})[0]
    np.testing.assert_array_equal(ours, wanted)


def test_float64_that_has_kernels_stays_float64():
    model = load(chain("Relu", "Tanh", dtype=TensorProto.DOUBLE))
    assert find_runnable(model).model is model


def test_a_plugin_in_a_float64_model():
    found = find_runnable(
        load(chain("Conv", "Relu", "acme:Odd", dtype=TensorProto.DOUBLE, domains=("acme",)))
    )
    assert found.converted and found.model.outputs == ("t2",)


def test_a_newer_ir_version_is_lowered_in_memory(tmp_path):
    proto = chain("Conv", "Relu")
    proto.ir_version = 99
    model = load(proto)
    assert find_runnable(model).model is model and model.proto.ir_version == 99
    onnx.save(proto, tmp_path / "m.onnx")
    assert find_runnable(load(tmp_path / "m.onnx")).model.path == tmp_path / "m.onnx"


def test_a_file_name_that_the_locale_cannot_hold(tmp_path):
    path = tmp_path / b"m\xc3\xb6del.onnx".decode("ascii", "surrogateescape")
    onnx.save(chain("Conv", "Relu"), path)
    assert not find_runnable(load(path)).stops
