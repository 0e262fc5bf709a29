"""The worst block is the verdict, in evaluate and in sensitivity, and what ranks groups."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.heads import classifier, picked, ssd, yolov8, yolox
from helpers.picking import noise_of_sets

from onnx_trtcal import (
    EvaluationOptions,
    Options,
    QdqOptions,
    SensitivityOptions,
    evaluate,
    quantize,
    sensitivity,
)
from onnx_trtcal.cli import main

if TYPE_CHECKING:
    from pathlib import Path

CPU = Options(provider="cpu", threads=1, method="minmax")
SMALL = QdqOptions(min_channels=1, gemv=True)
RNG = np.random.default_rng(5)
DATA = [RNG.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(6)]
ARRAYS = [array[0] for array in DATA]


def slices(proto: onnx.ModelProto, parts: list[tuple[slice, ...]]) -> list[float]:
    """SQNR in dB of parts of the first output, by the Q/DQ model and plain ONNX Runtime."""
    int8 = quantize(proto, ARRAYS, CPU, SMALL).proto()
    pairs = [[toys.run(each, {"x": x})[0].astype(np.float64) for each in (proto, int8)] for x in DATA]
    figures = []
    for part in parts:
        signal = sum((one[part] ** 2).sum() for one, _ in pairs)
        noise = sum(((one[part] - other[part]) ** 2).sum() for one, other in pairs)
        figures.append(float(10 * np.log10(signal / noise)))
    return figures


@pytest.mark.parametrize(
    ("proto", "names", "parts"),
    [
        (
            yolox(),
            ["y[:, :, 0:4]", "y[:, :, 4:5]", "y[:, :, 5:11]"],
            [np.s_[..., :4], np.s_[..., 4:5], np.s_[..., 5:]],
        ),
        (yolov8(), ["y[:, 0:4]", "y[:, 4:10]"], [np.s_[:, :4], np.s_[:, 4:]]),
        (classifier(), ["y"], [np.s_[:]]),
    ],
)
def test_blocks_are_measured_by_their_own_power(
    proto: onnx.ModelProto, names: list[str], parts: list[tuple[slice, ...]]
) -> None:
    result = evaluate(proto, ARRAYS, EvaluationOptions(ARRAYS, CPU, SMALL))
    assert [each.block.name for each in result.blocks] == names
    wanted = slices(proto, parts)
    assert [each.sqnr for each in result.blocks] == pytest.approx(wanted, abs=0.3)
    assert result.worst is not None and result.worst.sqnr == min(each.sqnr for each in result.blocks)
    assert str(result.worst.block) in repr(result)
    ranked = sensitivity(proto, ARRAYS, SensitivityOptions(ARRAYS, CPU, SMALL, worst=1))
    assert [each.sqnr for each in ranked.everything.blocks] == pytest.approx(wanted, abs=0.3)
    assert ranked.everything.sqnr == pytest.approx(min(wanted), abs=0.3)


def test_separate_outputs_are_separate_blocks() -> None:
    result = evaluate(ssd(), ARRAYS, EvaluationOptions(ARRAYS, CPU, SMALL))
    assert [each.block.name for each in result.blocks] == ["scores", "boxes"]


def test_groups_that_hurt_a_small_block_are_not_harmless() -> None:
    """The layers of the classes touch 6 of 10 channels, whose power is a millionth of that of the boxes."""
    ranked = sensitivity(yolov8(), ARRAYS, SensitivityOptions(ARRAYS, CPU, SMALL, worst=1)).ranked
    harm = {group.name: group.damage for group in ranked}
    scores = {name: damage for name, damage in harm.items() if "cls" in name}
    assert len(scores) == 2
    for damage in scores.values():
        assert damage.worst is not None and damage.worst.block.name == "y[:, 4:10]" and damage.sqnr < 60
        # Over the whole output, the same noise is nothing.
        signal, noise = (sum(getattr(each, name) for each in damage.blocks) for name in ("signal", "noise"))
        assert 10 * np.log10(signal / noise) > damage.sqnr + 30
    order = [group.damage.harm for group in ranked]
    assert order == sorted(order, reverse=True)


def test_picked_rows_are_a_set_and_no_classes() -> None:
    proto = picked(apart=True)
    result = evaluate(proto, ARRAYS, EvaluationOptions(ARRAYS, CPU, SMALL))
    assert result.classes is None
    ranked = sensitivity(proto, ARRAYS, SensitivityOptions(ARRAYS, CPU, SMALL, worst=1))
    assert ranked.everything.agreement is None
    int8 = quantize(proto, ARRAYS, CPU, SMALL).proto()
    signal = noise = in_order = 0.0
    for x in DATA:
        one, other = (toys.run(each, {"x": x})[0][0].astype(np.float64) for each in (proto, int8))
        signal += float((one**2).sum())
        in_order += float(((one - other) ** 2).sum())
        noise += noise_of_sets(one, other)
    boxes = next(each for each in result.blocks if each.block.name == "boxes")
    assert boxes.relative == pytest.approx(noise / signal, rel=0.02)
    assert noise < in_order / 2


def test_scalars_are_blocks_and_class_numbers_are_judged_by_what_they_are_chosen_from() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 3, 1, 1)).astype(np.float32)
    nodes = [
        toys.node("Conv", "x w", "c"),
        toys.node("ReduceMean", "c", "mean", keepdims=0),
        toys.node("ArgMax", "c", "at", axis=1),
    ]
    dtypes = {"at": onnx.TensorProto.INT64}
    proto = toys.model(
        nodes, {"x": (1, 3, 8, 8)}, {"mean": (), "at": (1, 1, 8, 8)}, {"w": weight}, dtypes=dtypes
    )
    result = evaluate(proto, ARRAYS, EvaluationOptions(ARRAYS, CPU, SMALL))
    assert [each.block.name for each in result.blocks] == ["mean"]
    assert result.blocks[0].values == 6 and result.worst is not None
    ranked = sensitivity(proto, ARRAYS, SensitivityOptions(ARRAYS, CPU, SMALL, worst=1))
    assert ranked.everything.sqnr == pytest.approx(result.worst.sqnr, abs=0.3)
    del proto.graph.output[0]
    # With nothing but class numbers, what they are chosen from is judged.
    result = evaluate(proto, ARRAYS, EvaluationOptions(ARRAYS, CPU, SMALL))
    assert [each.block.name for each in result.blocks] == ["c"] and result.equal.keys() == {"at"}
    assert not result.outputs and result.worst is not None
    ranked = sensitivity(proto, ARRAYS, SensitivityOptions(ARRAYS, CPU, SMALL, worst=1))
    assert ranked.everything.sqnr == pytest.approx(result.worst.sqnr, abs=0.3)


def test_sequences_are_left_to_the_model() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 3, 1, 1)).astype(np.float32)
    nodes = [toys.node("Conv", "x w", "y"), toys.node("SequenceConstruct", "y y", "both")]
    proto = toys.model(nodes, {"x": (1, 3, 8, 8)}, {"y": (1, 6, 8, 8)}, {"w": weight})
    floats = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    sequence = onnx.helper.make_sequence_type_proto(floats)
    proto.graph.output.append(onnx.helper.make_value_info("both", sequence))
    result = evaluate(proto, ARRAYS, EvaluationOptions(ARRAYS, CPU, SMALL))
    assert [each.block.name for each in result.blocks] == ["y"]
    ranked = sensitivity(proto, ARRAYS, SensitivityOptions(ARRAYS, CPU, SMALL, worst=1))
    assert [group.name for group in ranked.ranked] == ["y"]


def test_the_verdict_comes_first_and_ten_tensors_behind_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(yolox(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.concatenate(DATA))
    args = [str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--provider", "cpu", "--min-channels", "1"]
    args += ["--calibrate-on", str(tmp_path / "x.npy")]
    assert main(["evaluate", *args]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    verdict = next(at for at, line in enumerate(lines) if line.startswith("verdict: "))
    table = next(at for at, line in enumerate(lines) if line.startswith("INT8 against FP32"))
    assert verdict < table and "the worst of 3 blocks, 6 samples" in lines[verdict]
    blocks = [line.strip().rpartition(": ")[0] for line in lines[verdict + 1 : verdict + 4]]
    assert blocks == ["y[:, :, 0:4]", "y[:, :, 4:5]", "y[:, :, 5:11]"]
    assert "the 10 worst of" in lines[table]
    figures = [float(line.split()[2]) for line in lines[table + 2 : table + 12]]
    assert figures == sorted(figures)
    assert main(["evaluate", *args, "-v"]) == 0
    whole = capsys.readouterr().out
    assert "in graph order" in whole and len(whole.splitlines()) > len(lines)
    assert main(["evaluate", *args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["channels"] for each in found["blocks"]] == [[0, 4], [4, 5], [5, 11]]
    assert found["worst"] == min(found["blocks"], key=lambda each: each["sqnr"])["name"]
    assert main(["sensitivity", *args]) == 0
    said = capsys.readouterr().out
    assert "everything in INT8: verdict" in said and "worst block dB" in said
    # No labels and no classes: no columns for them.
    assert "top-1" not in said and "same answer" not in said
    assert main(["sensitivity", *args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["everything"]["worst"] in [each["name"] for each in found["everything"]["blocks"]]
