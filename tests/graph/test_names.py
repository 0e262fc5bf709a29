"""Fresh names meet no tensor's, no node's and no earlier one's."""

from __future__ import annotations

import onnx_graphsurgeon as gs
from helpers import toys

from onnx_trtcal.graph.names import Names, names_in


def test_a_fresh_name_is_new_to_tensors_nodes_and_names_given_out() -> None:
    node = toys.node("Relu", "x", "y", name="y_1")
    names = Names(names_in(gs.import_onnx(toys.model([node], {"x": [1]}, {"y": [1]}))))
    assert [names.fresh("y") for _ in range(2)] == ["y_2", "y_3"]
    assert [names.fresh("z") for _ in range(2)] == ["z", "z_1"]
