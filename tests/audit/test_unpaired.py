"""Why layers of a Q/DQ model have no pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from helpers.compiler import Pattern, attention, quantized, two_convs

from onnx_trtcal.audit.unpaired import why_unpaired

if TYPE_CHECKING:
    from pathlib import Path


def explained(model: onnx.ModelProto, folder: Path) -> dict[str, str]:
    onnx.save(model, folder / "m.onnx")
    return why_unpaired(folder / "m.onnx")


def test_rules_and_exclusions(tmp_path: Path) -> None:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 8)
    pattern.conv("a", "b", 8, 8)
    pattern.conv("b", "c", 8, 24)
    why = explained(quantized(pattern.model("c"), exclude=("n_c",), min_channels=16), tmp_path)
    assert set(why) == {"n_b", "n_c"}
    assert why["n_b"] == "8 input and 8 output channels, both fewer than 16 (option min_channels)"
    assert why["n_c"] == "no Q/DQ pair: excluded from quantization, or its input has no scale"


def test_attention(tmp_path: Path) -> None:
    why = explained(quantized(attention(), attention="float"), tmp_path)
    assert set(why) == {"n_qk", "n_pv"}
    assert all("attention" in text for text in why.values())


def test_what_is_left_by_default_is_told_by_its_rule(tmp_path: Path) -> None:
    pattern = Pattern()
    pattern.conv("x", "a", 24, 24)
    pattern.op("GlobalAveragePool", "a", "g")
    pattern.conv("g", "s", 24, 2, kernel=1)
    pattern.conv("s", "e", 2, 8, kernel=1)
    why = explained(quantized(pattern.model("e")), tmp_path)
    assert set(why) == {"n_e"} and "sums 2 products" in why["n_e"]


def test_half_a_pair_is_not_explained_by_rules(tmp_path: Path) -> None:
    model = quantized(two_convs())
    last = next(node for node in model.graph.node if node.name == "n_c")
    last.input[0] = "r"
    assert explained(model, tmp_path) == {}


def test_a_plugin_between_layers_hinders_no_explanation_and_a_damaged_file_has_none(tmp_path: Path) -> None:
    model = two_convs()
    model.graph.node[1].op_type = "NoSuchOp"
    assert set(explained(model, tmp_path)) == set(explained(two_convs(), tmp_path)) == {"n_a", "n_c"}
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    assert why_unpaired(tmp_path / "damaged.onnx") == {}
