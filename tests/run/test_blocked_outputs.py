from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_trtcal.run.blocked_outputs import Origin, expose_blocks

NCHWC = "com.microsoft.nchwc"


def conv(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, f"w_{target}"], [target], domain=NCHWC)


def reorder(source: str, target: str, channels: int) -> onnx.NodeProto:
    return helper.make_node("ReorderOutput", [source], [target], domain=NCHWC, channels=channels)


def optimised(
    nodes: list[onnx.NodeProto], outputs: list[str], filled: dict[str, int] | None = None
) -> onnx.ModelProto:
    """A model as ONNX Runtime writes it; `filled`: what the channels of a Conv's output are filled up to."""
    weights = [
        numpy_helper.from_array(np.zeros((size, 8, 1, 1), np.float32), f"w_{name}")
        for name, size in (filled or {}).items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        weights,
    )
    return helper.make_model(graph)


def shown(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    return [node.output[0] for node in model.graph.node], [output.name for output in model.graph.output]


def test_an_output_behind_a_reorder_is_taken_before_it() -> None:
    nodes = [conv("x", "a"), reorder("a", "y", 16), conv("a", "b"), reorder("b", "z", 8)]
    exposed = expose_blocks(optimised(nodes, ["y", "x", "z"], {"a": 16, "b": 8}))
    assert exposed is not None
    assert shown(exposed.model) == (["a", "b"], ["a", "x", "b"])
    assert exposed.origins == (Origin(0), Origin(1), Origin(2))


def test_a_reorder_that_somebody_reads_stays() -> None:
    body = helper.make_graph(
        [helper.make_node("Neg", ["z"], ["n"])], "b", [], [onnx.ValueInfoProto(name="n")]
    )
    passed = helper.make_graph([], "b", [], [onnx.ValueInfoProto(name="v")])
    nodes = [
        conv("x", "a"),
        *(reorder("a", name, 16) for name in "yzvu"),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("If", ["x"], ["i"], then_branch=body, else_branch=passed),
    ]
    exposed = expose_blocks(optimised(nodes, ["y", "z", "v", "u", "r", "i"], {"a": 16}))
    assert exposed is not None
    assert shown(exposed.model) == (["a", "y", "z", "v", "r", "i"], ["a", "r", "i"])
    assert [origin.place for origin in exposed.origins] == [0, 0, 0, 0, 1, 2]


def test_channels_that_only_fill_up_are_told_by_the_block() -> None:
    nodes = [conv("x", "a"), reorder("a", "y", 20), conv("a", "b"), reorder("b", "z", 32)]
    exposed = expose_blocks(optimised(nodes, ["y", "z"], {"a": 24, "b": 32}))
    assert exposed is not None and exposed.origins == (Origin(0, 20, 8), Origin(1))
    nodes = [conv("x", "a"), reorder("a", "y", 20), conv("a", "b"), reorder("b", "z", 48)]
    exposed = expose_blocks(optimised(nodes, ["y", "z"], {"a": 32, "b": 48}))
    assert exposed is not None and exposed.origins == (Origin(0, 20, 16), Origin(1))


def test_where_the_block_is_not_certain_filled_channels_are_left_to_the_reorder() -> None:
    # 13 channels are filled up to 16 by blocks of 8 and of 16.
    nodes = [conv("x", "a"), reorder("a", "y", 13), conv("x", "b"), reorder("b", "z", 16)]
    exposed = expose_blocks(optimised(nodes, ["y", "z"], {"a": 16, "b": 16}))
    assert exposed is not None
    assert shown(exposed.model) == (["a", "y", "b"], ["y", "b"])
    assert exposed.origins == (Origin(0), Origin(1))


def test_nothing_is_changed_where_no_output_is_behind_a_reorder() -> None:
    model = optimised([conv("x", "a"), reorder("a", "y", 13)], ["y"], {"a": 16})
    before = model.SerializeToString()
    assert expose_blocks(model) is None and model.SerializeToString() == before
    # Blocks that contradict each other: not a layout that is understood.
    odd = optimised([conv("x", "a"), reorder("a", "y", 8)], ["y"], {"a": 24})
    assert expose_blocks(odd) is None
    assert expose_blocks(optimised([helper.make_node("Relu", ["x"], ["y"])], ["y"])) is None
