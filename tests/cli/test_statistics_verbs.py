"""solve, merge and compare, as a user calls them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import onnx
import pytest
from helpers.small import network, samples, write_folder

from onnx_trtcal.cli import main
from onnx_trtcal.stats import store

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, another one, and the files of a calibration with the method mse."""
    folder = tmp_path_factory.mktemp("job")
    onnx.save(network(), str(folder / "model.onnx"))
    onnx.save(network(3), str(folder / "other.onnx"))
    data = write_folder(folder / "data", samples(20))
    flags = ["--provider", "cpu", "--method", "mse", "--trt-version", "8.6", "-q"]
    flags += ["-o", str(folder / "a.cache"), "--save-stats", str(folder / "a.stats")]
    assert main([str(folder / "model.onnx"), str(data), *flags]) == 0
    return folder


class TestSolve:
    def solve(self, job: Path, out: Path, *flags: str, model: str = "model.onnx") -> int:
        return main(["solve", str(job / "a.stats"), str(job / model), "-o", str(out), *flags])

    def test_writes_what_the_main_job_writes(self, job: Path, tmp_path: Path, capsys: Capture) -> None:
        assert self.solve(job, tmp_path / "b.cache", "--method", "mse", "--trt-version", "8.6") == 0
        assert (tmp_path / "b.cache").read_bytes() == (job / "a.cache").read_bytes()
        assert (tmp_path / "b.cache.json").read_bytes() == (job / "a.cache.json").read_bytes()
        said = capsys.readouterr().out
        assert "20 samples. 6 tensors have a scale" in said and f"--calib={tmp_path / 'b.cache'}" in said
        assert "--minShapes=x:1x2x4x4 --optShapes=x:8x2x4x4 --maxShapes=x:8x2x4x4" in said

    def test_statistics_of_an_older_version_tell_no_shapes(
        self, job: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        statistics = store.load_statistics(job / "a.stats")
        statistics.shapes = {}
        store.save_statistics(tmp_path / "old.stats", statistics)
        out = str(tmp_path / "b.cache")
        assert main(["solve", str(tmp_path / "old.stats"), str(job / "model.onnx"), "-o", out]) == 0
        assert "for x: no data was run, and the statistics do not tell them" in capsys.readouterr().out
        assert "shapes" not in json.loads((tmp_path / "b.cache.json").read_text())

    def test_another_method_version_and_format(self, job: Path, tmp_path: Path) -> None:
        flags = ["--method", "minmax", "--method-for", "Softmax=percentile:99", "--format", "trt"]
        assert self.solve(job, tmp_path / "b.cache", *flags, "--format", "ranges-json") == 0
        tensors = json.loads((tmp_path / "b.cache.json").read_text())["tensors"]
        assert tensors["x"]["method"] == "minmax" and tensors["y"]["method"] == "percentile:99.0"
        assert json.loads((tmp_path / "b.ranges.json").read_text()).keys() == tensors.keys()
        assert (tmp_path / "b.cache").read_text().startswith("TRT-100300-")

    @pytest.mark.parametrize(
        ("model", "flags", "said"),
        [
            ("other.onnx", (), "another model"),
            ("model.onnx", ("--method", "mxnet"), "mxnet solves what a second pass"),
            ("model.onnx", ("--method", "best"), "is not a method"),
            ("missing.onnx", (), "missing.onnx"),
        ],
    )
    def test_refusals_write_nothing(
        self, job: Path, tmp_path: Path, capsys: Capture, model: str, flags: tuple[str, ...], said: str
    ) -> None:
        assert self.solve(job, tmp_path / "b.cache", *flags, model=model) == 1
        assert said in capsys.readouterr().err and not list(tmp_path.iterdir())

    def test_does_not_start_onnx_runtime_on_data(self, job: Path, capsys: Capture, tmp_path: Path) -> None:
        assert self.solve(job, tmp_path / "b.cache", "--method", "mse") == 0
        assert "execution provider" not in capsys.readouterr().out


class TestMerge:
    def test_writes_the_sum(self, job: Path, tmp_path: Path, capsys: Capture) -> None:
        shards = []
        for name, part in (("b", samples(20)[:5]), ("c", samples(20, seed=3))):
            data = write_folder(tmp_path / name, part)
            stats = tmp_path / f"{name}.stats"
            flags = [
                "--provider",
                "cpu",
                "-q",
                "-o",
                str(tmp_path / f"{name}.cache"),
                "--save-stats",
                str(stats),
            ]
            assert main([str(job / "model.onnx"), str(data), *flags]) == 0
            shards.append(str(stats))
        assert main(["merge", *shards, "-o", str(tmp_path / "all.stats")]) == 0
        assert "25 samples of 2 files, 3 tensors" in capsys.readouterr().out
        assert len(store.load_statistics(tmp_path / "all.stats").samples) == 25

    def test_refuses_a_sample_counted_twice(self, job: Path, tmp_path: Path, capsys: Capture) -> None:
        stats = str(job / "a.stats")
        assert main(["merge", stats, stats, "-o", str(tmp_path / "all.stats")]) == 1
        said = capsys.readouterr().err
        assert "counted twice: 's0.npy', 's1.npy'" in said and stats in said
        assert not list(tmp_path.iterdir())

    def test_overwrites_no_shard(self, job: Path, tmp_path: Path, capsys: Capture) -> None:
        shard = tmp_path / "a.stats"
        shard.write_bytes((job / "a.stats").read_bytes())
        assert main(["merge", str(shard), "-o", str(shard)]) == 1
        assert "overwrite an input" in capsys.readouterr().err


class TestCompare:
    def compare(self, job: Path, *flags: str, model: str = "model.onnx") -> int:
        return main(["compare", str(job / "a.stats"), str(job / model), *flags])

    def test_prints_a_table_in_graph_order(self, job: Path, capsys: Capture) -> None:
        assert self.compare(job, "-q") == 0
        head, *rows = capsys.readouterr().out.splitlines()
        assert head.split()[:6] == ["tensor", "op", "amax", "entropy", "clipped", "dB"]
        assert [row.split()[0] for row in rows] == ["x", "relu", "y"]

    def test_sorts(self, job: Path, capsys: Capture) -> None:
        assert self.compare(job, "-q", "--sort", "amax") == 0
        amaxes = [float(row.split()[2]) for row in capsys.readouterr().out.splitlines()[1:]]
        assert amaxes == sorted(amaxes, reverse=True)

    def test_json_and_csv_hold_the_same(self, job: Path, tmp_path: Path, capsys: Capture) -> None:
        file = tmp_path / "t.csv"
        assert self.compare(job, "--json", "--csv", str(file), "--method", "mse", "--method", "minmax") == 0
        read = json.loads(capsys.readouterr().out)
        lines = list(csv.DictReader(file.read_text().splitlines()))
        assert [list(row) for row in read] == [list(line) for line in lines]
        for row, line in zip(read, lines, strict=True):
            assert {key: str(value) for key, value in row.items()} == line
        scales = json.loads((job / "a.cache.json").read_text())["tensors"]
        assert {row["tensor"]: row["mse.threshold"] for row in read} == {
            name: scales[name]["threshold"] for name in ("x", "relu", "y")
        }

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (("--sort", "entropy.sqn"), "'entropy.sqnr'"),
            (("--method", "mxnet"), "mxnet needs more"),
            (("--method", "best"), "is not a method"),
        ],
    )
    def test_refusals(self, job: Path, capsys: Capture, flags: tuple[str, ...], said: str) -> None:
        assert self.compare(job, *flags) == 1
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize("given", ["a.stats", "model.onnx"])
    def test_overwrites_no_input(self, job: Path, capsys: Capture, given: str) -> None:
        before = (job / given).read_bytes()
        assert self.compare(job, "--csv", str(job / given)) == 1
        assert "overwrite an input" in capsys.readouterr().err
        assert (job / given).read_bytes() == before

    def test_of_another_model(self, job: Path, capsys: Capture) -> None:
        assert self.compare(job, model="other.onnx") == 1
        assert "another model" in capsys.readouterr().err
