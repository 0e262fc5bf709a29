"""Lists inside ONNX messages."""

from __future__ import annotations

from onnx import GraphProto, helper

from onnx_trtcal.graph.model.refill import refill


def test_what_was_in_the_list_stays_whole_beside_what_was_not() -> None:
    graph = GraphProto()
    graph.node.extend(helper.make_node("Relu", [f"x{at}"], [f"y{at}"], alpha=float(at)) for at in range(300))
    kept = [graph.node[at] for at in (299, 7, 0)]
    refill(graph.node, [helper.make_node("Abs", ["a"], ["b"]), *kept])
    assert [(node.op_type, node.output[0]) for node in graph.node] == [
        ("Abs", "b"),
        ("Relu", "y299"),
        ("Relu", "y7"),
        ("Relu", "y0"),
    ]
    assert [node.attribute[0].f for node in graph.node[1:]] == [299.0, 7.0, 0.0]
