from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from helpers.small import CPU, network, samples

from onnx_trtcal import calibrate
from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.errors import OptionError, StatisticsError
from onnx_trtcal.options import Options, Preprocess
from onnx_trtcal.stats import store
from onnx_trtcal.stats.merging import merge

if TYPE_CHECKING:
    from pathlib import Path

DATA = samples(9)
OVERLAPPING = {"a": range(3), "b": range(3, 6), "c": range(4, 5)}


def collect(folder: Path, name: str, numbers: range, options: Options = CPU, model: object = None) -> Path:
    """The statistics of some of the samples, each under its own name."""
    data = folder / f"data-{name}"
    data.mkdir()
    for number in numbers:
        np.save(data / f"s{number}.npy", DATA[number])
    calibration = calibrate(model or network(), data, options)
    store.save_statistics(folder / name, calibration.collection)
    return folder / name


def test_three_shards_in_any_order_are_the_file_of_one_run(tmp_path: Path) -> None:
    whole = collect(tmp_path, "whole", range(9)).read_bytes()
    shards = [
        collect(tmp_path, "a", range(2), replace(CPU, batch_size=1)),
        collect(tmp_path, "b", range(2, 7)),
        collect(tmp_path, "c", range(7, 9), replace(CPU, batch_size=2)),
    ]
    for order in itertools.permutations(shards):
        assert store.dumps(merge(order)) == whole
    a, b, c = shards
    store.save_statistics(tmp_path / "ab", merge([b, a]))
    assert store.dumps(merge([c, tmp_path / "ab"])) == whole
    assert store.dumps(merge([a])) == a.read_bytes()


def test_shapes_span_those_of_every_shard_and_are_unknown_where_one_is(tmp_path: Path) -> None:
    first, second = (store.load_statistics(collect(tmp_path, name, [at])) for at, name in enumerate("ab"))
    first.shapes = {"x": SeenShapes((1, 2, 4, 7), (1, 2, 9, 9)), "z": SeenShapes((1,), (1,))}
    second.shapes = {"x": SeenShapes((1, 2, 6, 3), (1, 2, 6, 12))}
    for name, each in {"a": first, "b": second}.items():
        store.save_statistics(tmp_path / name, each)
    assert merge([tmp_path / "a", tmp_path / "b"]).shapes == {"x": SeenShapes((1, 2, 4, 3), (1, 2, 9, 12))}
    second.shapes = {}
    store.save_statistics(tmp_path / "b", second)
    assert merge([tmp_path / "b", tmp_path / "a"]).shapes == {}


class TestRefusals:
    """Every refusal names the reason and the two files it is about."""

    def refused(self, *paths: Path) -> StatisticsError:
        with pytest.raises(StatisticsError) as refusal:
            merge(paths)
        return refusal.value

    def test_a_sample_counted_twice(self, tmp_path: Path) -> None:
        files = [collect(tmp_path, name, numbers) for name, numbers in OVERLAPPING.items()]
        error = self.refused(*files)
        assert "'s4.npy'" in error.what and "twice" in error.what
        assert error.where == f"{files[1]} and {files[2]}"

    def test_a_sample_counted_twice_under_two_names(self, tmp_path: Path) -> None:
        files = [collect(tmp_path, "a", range(3)), collect(tmp_path, "b", range(3, 6))]
        data = tmp_path / "root" / "sub"
        data.mkdir(parents=True)
        np.save(data / "copy.npy", DATA[4])
        store.save_statistics(tmp_path / "c", calibrate(network(), data.parent, CPU).collection)
        error = self.refused(*files, tmp_path / "c")
        assert "'s4.npy', called 'sub/copy.npy' in the other" in error.what
        assert error.where == f"{files[1]} and {tmp_path / 'c'}"

    def test_another_model(self, tmp_path: Path) -> None:
        a, b = collect(tmp_path, "a", range(2)), collect(tmp_path, "b", range(2, 4), model=network(2))
        error = self.refused(a, b)
        assert "another model" in error.what and error.where == f"{a} and {b}"

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (replace(CPU, range="tensorrt"), "range rule: stable against tensorrt"),
            (replace(CPU, preprocess=Preprocess(mean=(0.5,))), "preprocess is {} against {'mean': [0.5]}"),
            (replace(CPU, observe="all"), "observe is 'fused' against 'all'"),
        ],
    )
    def test_other_options(self, tmp_path: Path, options: Options, reason: str) -> None:
        a, b = collect(tmp_path, "a", range(2)), collect(tmp_path, "b", range(2, 4), options)
        assert reason in self.refused(a, b).what

    def test_tensorrts_range_rule(self, tmp_path: Path) -> None:
        rule = replace(CPU, range="tensorrt")
        a, b = collect(tmp_path, "a", range(2), rule), collect(tmp_path, "b", range(2, 4), rule)
        assert "cannot be merged" in self.refused(a, b).what

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.write_bytes(onnx.ModelProto().SerializeToString() + b"x" * 64)
        error = self.refused(collect(tmp_path, "a", range(2)), other)
        assert "not a statistics file" in error.what and error.where == str(other)


def test_nothing_cannot_be_merged() -> None:
    with pytest.raises(OptionError, match="no statistics to merge"):
        merge([])
