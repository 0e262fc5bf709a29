"""Blocks against the heads that they are read from, and against which input changes which channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.heads import classifier, picked, ssd, yolo_anchors, yolov8, yolox
from helpers.toys import model, node, run
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.output_blocks import OutputBlocks, output_blocks
from onnx_trtcal.prepared import fold_model

if TYPE_CHECKING:
    import onnx


def found(proto: onnx.ModelProto) -> dict[str, OutputBlocks]:
    loaded = load(proto)
    return output_blocks(loaded, fold_model(loaded).folded, loaded.outputs)


@pytest.mark.parametrize("batch", [1, "N"])
def test_levels_joined_last_do_not_hide_the_channels_joined_first(batch: int | str) -> None:
    assert found(yolox(batch)) == {"y": OutputBlocks(2, (4, 5))}


@pytest.mark.parametrize("computed_shapes", [False, True])
@pytest.mark.parametrize("behind", ["", "Sigmoid", "Identity"])
def test_boxes_above_scores(computed_shapes: bool, behind: str) -> None:
    assert found(yolov8(computed_shapes=computed_shapes, behind=behind)) == {"y": OutputBlocks(1, (4,))}


def test_channels_of_one_layer_picked_apart() -> None:
    assert found(yolo_anchors()) == {"y": OutputBlocks(2, (2, 4))}


def test_corners_of_one_box_are_one_block_and_levels_are_none() -> None:
    assert found(ssd()) == {"scores": OutputBlocks(2, (), whole=True), "boxes": OutputBlocks(2)}


def test_class_numbers_are_no_scores() -> None:
    assert found(picked()) == {"y": OutputBlocks(2, (4, 5))}


def test_a_distribution_is_whole() -> None:
    assert found(classifier(1000)) == {"y": OutputBlocks(1, (), whole=True)}
    assert found(classifier(1000, "Relu")) == {"y": OutputBlocks(1)}
    assert found(classifier(1000, "")) == {"y": OutputBlocks(1)}


def test_heads_joined_before_a_softmax_are_one_distribution() -> None:
    nodes = [node("Concat", "a b", "c", axis=1), node("Softmax", "c", "y", axis=1)]
    assert found(model(nodes, {"a": (1, 3), "b": (1, 5)}, ("y",))) == {"y": OutputBlocks()}
    nodes[1] = node("Softmax", "c", "y", axis=0)
    assert found(model(nodes, {"a": (1, 3), "b": (1, 5)}, ("y",))) == {"y": OutputBlocks(1, (3,))}


def test_before_opset_13_a_softmax_without_axis_is_along_axis_1() -> None:
    nodes = [node("Conv", "x w", "c"), node("Softmax", "c", "y")]
    weight = np.ones((5, 3, 1, 1), np.float32)
    toy = model(nodes, {"x": (1, 3, 4, 4)}, {"y": (1, 5, 4, 4)}, {"w": weight}, opset=11)
    assert found(toy) == {"y": OutputBlocks(1, (), whole=True)}


def test_a_run_of_single_channels_is_one_block() -> None:
    nodes = [node("Concat", "a b c d e", "y", axis=1)]
    inputs = {**dict.fromkeys("abcd", (1, 1, 6)), "e": (1, 5, 6)}
    assert found(model(nodes, inputs, ("y",))) == {"y": OutputBlocks(1, (4,))}


def test_a_sum_with_something_else_has_no_branches() -> None:
    weight = np.ones((5, 3, 1, 1), np.float32)
    nodes = [
        node("Conv", "x w", "a"),
        node("Conv", "x w", "b"),
        node("Conv", "x w2", "c"),
        node("Concat", "a b", "ab", axis=1),
        node("Add", "ab c", "y"),
    ]
    constants = {"w": weight, "w2": np.ones((10, 3, 1, 1), np.float32)}
    toy = model(nodes, {"x": (1, 3, 4, 4)}, {"y": (1, 10, 4, 4)}, constants)
    assert found(toy) == {"y": OutputBlocks(1)}


def test_picked_channels_follow_their_branches() -> None:
    nodes = [
        node("Concat", "a b c", "abc", axis=1),
        node("Slice", "abc start end axis step", "turned"),
        node("Gather", "turned order", "y", axis=1),
    ]
    constants = {
        "start": np.array([-1]),
        "end": np.array([-100]),
        "axis": np.array([1]),
        "step": np.array([-1]),
        "order": np.array([0, 1, 2, 5, 6, -1]),
    }
    # Turned round: c c c b b a a; then c c c a a, and a once more.
    toy = model(nodes, {"a": (1, 2, 9), "b": (1, 2, 9), "c": (1, 3, 9)}, ("y",), constants)
    assert found(toy) == {"y": OutputBlocks(1, (3,))}


def test_nothing_is_said_of_what_has_no_rank_or_no_layer() -> None:
    toy = model([node("Relu", "x", "y")], {"x": ("N", 4, 8)}, ("y",))
    assert found(toy) == {"y": OutputBlocks()}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blocks_are_the_channels_that_a_branch_reaches(data: st.DataObject) -> None:
    """Branches of random widths, joined and moved at random: each is fed its number, and read off the output."""
    widths = data.draw(st.lists(st.integers(2, 5), min_size=2, max_size=4))
    names = [f"b{at}" for at in range(len(widths))]
    channels = sum(widths)
    weights = {
        f"w{name}": np.ones((width, 1, 1, 1), np.float32) for name, width in zip(names, widths, strict=True)
    }
    nodes = [node("Conv", f"x{name} w{name}", name) for name in names]
    nodes.append(node("Concat", names, "t0", axis=1))
    shape, axis = [1, channels, 4, 6], 1
    constants = dict(weights)
    for step in range(data.draw(st.integers(0, 4))):
        kind = data.draw(st.sampled_from(["Transpose", "Reshape", "Sigmoid", "Split", "Cast"]))
        before, after = f"t{step}", f"t{step + 1}"
        if kind == "Transpose":
            order = data.draw(st.permutations(range(1, len(shape))))
            order = [0, *order]
            shape, axis = [shape[at] for at in order], order.index(axis)
            nodes.append(node("Transpose", before, after, perm=order))
        elif kind == "Reshape":
            # Everything before the axis becomes one, and everything behind it, too.
            shape = [1, int(np.prod(shape[1:axis])), channels, int(np.prod(shape[axis + 1 :]))]
            axis = 2
            constants[f"s{step}"] = np.array(shape)
            nodes.append(node("Reshape", [before, f"s{step}"], after))
        elif kind == "Split":
            at = data.draw(st.sampled_from([at for at in range(1, len(shape)) if at != axis]))
            if shape[at] % 2:
                nodes.append(node("Identity", before, after))
                continue
            shape[at] //= 2
            constants[f"s{step}"] = np.array([shape[at]] * 2)
            nodes.append(node("Split", [before, f"s{step}"], [after, f"unused{step}"], axis=at))
        elif kind == "Cast":
            nodes.append(node("Cast", before, after, to=1))
        else:
            nodes.append(node("Sigmoid", before, after))
    nodes[-1].output[0] = "y"
    inputs = {f"x{name}": (1, 1, 4, 6) for name in names}
    toy = model(nodes, inputs, {"y": shape}, constants)
    values = {name: np.full(each, at, np.float32) for at, (name, each) in enumerate(inputs.items())}
    y = run(toy, values)[0]
    profile = np.moveaxis(y, axis, 0).reshape(channels, -1)
    assert (profile == profile[:, :1]).all()
    bounds = tuple(int(at) + 1 for at in np.flatnonzero(np.diff(profile[:, 0])))
    assert found(toy) == {"y": OutputBlocks(axis, bounds)}


@pytest.mark.parametrize("order", ["t{} x", "x t{}"])
def test_a_long_chain_ends_somewhere(order: str) -> None:
    """A residual stream of a thousand sums: whatever is found, nothing overflows."""
    nodes = [node("Concat", "a b", "t0", axis=1)]
    for at in range(1000):
        nodes.append(node("Add", order.format(at), f"t{at + 1}"))
        if at % 3 == 0:
            nodes[-1].output[0] = f"s{at}"
            nodes.append(node("Concat", [f"s{at}"], f"t{at + 1}", axis=2))
    nodes.append(node("Relu", "t1000", "y"))
    toy = model(nodes, {"a": (1, 3, 4), "b": (1, 5, 4), "x": (1, 8, 4)}, ("y",))
    assert set(found(toy)) == {"y"}
