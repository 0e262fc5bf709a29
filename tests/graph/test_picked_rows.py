"""Which outputs list rows that were picked, and along which axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.heads import classifier, picked, ssd, yolov8
from helpers.toys import model, node

from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.graph.picked_rows import picked_rows
from onnx_trtcal.graph.view import link

if TYPE_CHECKING:
    import onnx


def found(proto: onnx.ModelProto) -> dict[str, int]:
    loaded = load(proto)
    return picked_rows(loaded, link(import_graph(loaded)))


def test_rows_of_one_output_or_of_several() -> None:
    assert found(picked()) == {"y": 1}
    assert found(picked(apart=True)) == {"boxes": 1, "scores": 1, "classes": 1}


@pytest.mark.parametrize("proto", [classifier(), ssd(), yolov8()])
def test_without_a_pick_there_are_none(proto: onnx.ModelProto) -> None:
    assert found(proto) == {}


def test_the_best_classes_alone_are_no_rows() -> None:
    nodes = [node("MatMul", "x w", "logits"), node("TopK", "logits k", "best at", axis=1)]
    constants = {"w": np.ones((4, 9), np.float32), "k": np.array([5])}
    assert found(model(nodes, {"x": (1, 4)}, {"best": (1, 5)}, constants)) == {}
