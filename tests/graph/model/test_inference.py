"""Types of a model's tensors."""

from __future__ import annotations

from onnx import TensorProto, helper

from onnx_trtcal.graph.model.inference import infer_types


def test_functions_that_call_one_another_leave_the_declared_types() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            "local", name, ["a"], ["b"], [helper.make_node(called, ["a"], ["b"], domain="local")], opsets
        )
        for name, called in (("F", "G"), ("G", "F"))
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="local")], "g", [x], [y])
    found = infer_types(helper.make_model(graph, functions=functions, opset_imports=opsets))
    assert found.shapes["y"] == (2,) and found.elem_types["y"] == TensorProto.FLOAT
