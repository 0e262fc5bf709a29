"""By how much a net reduces its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys

from onnx_trtcal.graph.strides import total_stride

if TYPE_CHECKING:
    import onnx

TWO = np.array([1, 1, 2, 2], np.float32)


def chain(*steps: tuple[str, dict[str, object]]) -> onnx.GraphProto:
    nodes = [
        toys.node(op, f"t{index} " + ("'' s" if op == "Resize" else "w"), f"t{index + 1}", **attributes)
        for index, (op, attributes) in enumerate(steps)
    ]
    end = f"t{len(steps)}"
    return toys.model(
        nodes, {"t0": [1, 3, "h", "w"]}, {end: None}, {"w": np.ones((3, 3, 1, 1)), "s": TWO}
    ).graph


HALF, POOL = ("Conv", {"strides": [2, 2]}), ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]})
UP, BACK = ("Resize", {}), ("ConvTranspose", {"strides": [2, 2]})


@pytest.mark.parametrize(
    ("graph", "stride"),
    [
        (chain(("Conv", {}), ("Relu", {})), 1),
        (chain(HALF, POOL, ("Conv", {"strides": [1, 4]})), 16),
        (chain(HALF, HALF, UP, HALF), 4),
        (chain(HALF, BACK, HALF, BACK), 2),
        (chain(("SpaceToDepth", {"blocksize": 4}), HALF), 8),
    ],
)
def test_strides_multiply_along_a_path_and_what_enlarges_divides(graph: onnx.GraphProto, stride: int) -> None:
    assert total_stride(graph) == stride
