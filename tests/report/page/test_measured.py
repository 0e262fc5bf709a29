"""What evaluate and sensitivity print with --json, read again."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from onnx_trtcal.cli.jsontext import json_text
from onnx_trtcal.errors import DataError
from onnx_trtcal.evaluation.accuracy import Merit
from onnx_trtcal.evaluation.comparison import Evaluation, TensorError
from onnx_trtcal.evaluation.fields import evaluation_fields, sensitivity_fields
from onnx_trtcal.evaluation.ranked_groups import RankedGroup
from onnx_trtcal.evaluation.ranking import Sensitivity, Spared
from onnx_trtcal.evaluation.variants import Damage
from onnx_trtcal.fidelity.blocks import Block, BlockError
from onnx_trtcal.report.page.measured import measured_of, ranked_of, read_measurements

if TYPE_CHECKING:
    from pathlib import Path

INF = math.inf
BLOCKS = (
    BlockError(Block("y", 1, 0, 4), 1.0, 100.0, verdict=True, values=40),
    BlockError(Block("z"), 0.0, 9.0, verdict=True, values=3),
    BlockError(Block("w"), 2.0, 0.0, verdict=False, values=3),
)


def evaluation() -> Evaluation:
    tensors = (
        TensorError("x", "Input", INF, None, 1.0, 0.0, INF, 0),
        TensorError("a", "Conv", 40.0, 38.0, 0.99, 0.1, INF, 0),
        TensorError("b", "Conv", 25.5, None, 0.98, 0.2, 40.0, 0),
    )
    scores = {"top-1": Merit(0.9, 0.88, 0.01)}
    return Evaluation(
        8, tensors, tensors[2:], "y", 0.95, scores, {"error": Merit(1.5, 1.75, None)}, {}, blocks=BLOCKS
    )


def ranking() -> Sensitivity:
    bad, fine = Damage(0.01, None, None, blocks=BLOCKS), Damage(0.0, None, None)
    groups = (
        RankedGroup("conv", "Conv", "conv", ("conv", "relu"), bad),
        RankedGroup("fc", "Gemm", "y", ("fc",), fine),
    )
    return Sensitivity(4, False, groups, bad, (Spared(1, "conv", fine),), None)


def test_results_and_what_was_printed_of_them_say_the_same(tmp_path: Path) -> None:
    """JSON has null for infinities of either sign; they are told apart again."""
    paths = [tmp_path / "e.json", tmp_path / "s.json"]
    for path, fields in zip(
        paths, (evaluation_fields(evaluation()), sensitivity_fields(ranking())), strict=True
    ):
        path.write_text(json_text(fields))
    measured, ranked = read_measurements(paths)
    assert measured == measured_of(evaluation_fields(evaluation()))
    assert ranked == ranked_of(sensitivity_fields(ranking()))
    assert measured is not None and ranked is not None
    assert [(each.name, each.sqnr, each.lost) for each in measured.tensors] == [
        ("x", INF, 0.0),
        ("a", 40.0, 0.0),
        ("b", 25.5, 14.5),
    ]
    assert [(each.name, each.sqnr) for each in measured.blocks] == [
        ("y[:, 0:4]", 20.0),
        ("z", INF),
        ("w", -INF),
    ]
    assert [(each.name, each.share, each.int8) for each in measured.figures] == [
        ("top-1", True, 0.88),
        ("error", False, 1.75),
    ]
    assert [(each.pattern, each.sqnr) for each in ranked.groups] == [("conv", 20.0), ("y", INF)]
    assert (ranked.everything, ranked.kept, ranked.exclude) == (20.0, ((1, INF),), ("conv",))


def test_the_last_of_each_kind_counts(tmp_path: Path) -> None:
    fields = evaluation_fields(evaluation())
    for name, samples in (("a", 8), ("b", 16)):
        (tmp_path / name).write_text(json_text({**fields, "samples": samples}))
    measured, ranked = read_measurements([tmp_path / "a", tmp_path / "b"])
    assert measured is not None and measured.samples == 16 and ranked is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        "nonsense",
        "{}",
        '{"samples": 3}',
        '{"ranked": 1}',
        "[" * 100000,
        '{"tensors": [{"name": 1}]}',
    ],
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"other\.json") as raised:
        read_measurements([path])
    assert "--json" in raised.value.fix


def test_a_file_that_is_not_there_or_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none", "binary"):
        with pytest.raises(DataError):
            read_measurements([tmp_path / name])


def test_fields_of_the_wrong_type_are_refused(tmp_path: Path) -> None:
    good: dict[str, Any] = json.loads(json_text(evaluation_fields(evaluation())))
    path = tmp_path / "e.json"
    for key, value in (
        ("tensors", 5),
        ("blocks", [[]]),
        ("samples", None),
        ("agreement", []),
        ("scores", [1]),
    ):
        path.write_text(json.dumps({**good, key: value}))
        with pytest.raises(DataError):
            read_measurements([path])
