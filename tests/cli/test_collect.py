"""collect and merge of shards, as a scheduler's tasks call them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from helpers.small import network, samples, write_folder

from onnx_trtcal.cli import main
from onnx_trtcal.support.output_lock import locked

Capture = pytest.CaptureFixture[str]
FLAGS = ["--provider", "cpu", "--threads", "1", "-q"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and data, which is the working directory."""
    onnx.save(network(), str(tmp_path / "model.onnx"))
    write_folder(tmp_path / "data", samples(3))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_array_of_tasks_in_one_folder(job: Path, capsys: Capture) -> None:
    for index in range(1, 5):
        assert main(["collect", "model.onnx", "data", "--shard", f"{index}/4", *FLAGS]) == 0
    files = [f"model.{index}-of-4.stats" for index in range(1, 5)]
    assert sorted(path.name for path in job.glob("*.stats")) == files
    assert not list(job.glob("*.checkpoint*")) and not list(job.glob(".*"))
    said = capsys.readouterr()
    assert said.out == "" and "shard 4/4 holds no sample: the data has 3 samples" in said.err
    assert main(["merge", *files, "-o", "all.stats"]) == 0
    assert main(["collect", "model.onnx", "data", *FLAGS]) == 0
    assert (job / "model.stats").read_bytes() == (job / "all.stats").read_bytes()
    assert main(["model.onnx", "data", "--save-stats", "run.stats", "-o", "run.cache", *FLAGS]) == 0
    assert main(["solve", "all.stats", "model.onnx", "-o", "all.cache", "-q"]) == 0
    for name in ("stats", "cache", "cache.json"):
        assert (job / f"run.{name}").read_bytes() == (job / f"all.{name}").read_bytes()


def test_says_what_it_wrote_and_what_is_missing(job: Path, capsys: Capture) -> None:
    verbose = [flag for flag in FLAGS if flag != "-q"]
    assert main(["collect", "model.onnx", "data", "--shard", "2/3", "-o", "b.stats", *verbose]) == 0
    written = capsys.readouterr().out.splitlines()[-1]
    assert written.startswith("wrote b.stats (") and written.endswith("): 1 sample, 3 tensors; shard 2/3")
    assert main(["collect", "model.onnx", "data", "--shard", "3/3", "-o", "c.stats", *FLAGS]) == 0
    assert main(["collect", "model.onnx", "data", "--shard", "3/110", *FLAGS]) == 0
    assert (job / "model.003-of-110.stats").exists()
    assert main(["merge", "b.stats", "c.stats", "-o", "bc.stats"]) == 1
    assert "shard 1/3 is missing" in capsys.readouterr().err and not (job / "bc.stats").exists()
    assert main(["merge", "b.stats", "c.stats", "--partial", "-o", "bc.stats"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "still missing: shard 1/3"
    assert main(["report", "bc.stats", "model.onnx", "-o", "bc.html", "-q"]) == 0
    assert "statistics of shards 2/3 and 3/3 only" in (job / "bc.html").read_text(encoding="utf-8")


def test_no_shard_is_written_over_another(job: Path, capsys: Capture) -> None:
    shard = ["collect", "model.onnx", "data", *FLAGS, "-o", "one.stats", "--shard"]
    assert main([*shard, "1/2"]) == 0
    content = (job / "one.stats").read_bytes()
    for other in ("2/2", "1/3"):
        assert main([*shard, other]) == 1
        assert f"holds shard 1/2, and would be overwritten by shard {other}" in capsys.readouterr().err
    assert main([*shard, "1/2"]) == 0  # a task that is run again
    assert (job / "one.stats").read_bytes() == content
    for parts, output in ((["1", "3"], "some.stats"), (["1", "2", "3"], "all.stats")):
        for part in parts:
            assert main([*shard[:-3], "-o", f"{part}.stats", "--shard", f"{part}/3"]) == 0
        assert main(["merge", "--partial", *(f"{part}.stats" for part in parts), "-o", output, "-q"]) == 0
        merged = (job / output).read_bytes()
        assert main([*shard[:-3], "-o", output, "--shard", "1/3"]) == 1
        assert "would be overwritten by shard 1/3" in capsys.readouterr().err
        assert (job / output).read_bytes() == merged
    assert main([*shard[:-3], "-o", "all.stats", "--shard", "1/1"]) == 0
    assert (job / "all.stats").read_bytes() == merged
    with locked(["one.stats"]):
        assert main([*shard, "1/2"]) == 1
    assert "being written by another run" in capsys.readouterr().err


def test_misuse(job: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["collect", "model.onnx", "data", "--shard", "0/3"])
    assert exit_.value.code == 2 and "SLURM_ARRAY_TASK_ID + 1" in capsys.readouterr().err
    for flags, said in (
        (["--until-stable", "1%"], "exclude each other"),
        (["--range", "tensorrt"], "no shards"),
    ):
        assert main(["collect", "model.onnx", "data", "--shard", "1/3", *flags, *FLAGS]) == 1
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in job.iterdir()) == ["data", "model.onnx"]


@pytest.mark.slow
def test_the_order_of_samples_does_not_depend_on_the_machine(job: Path) -> None:
    """Other locale, other hash seed, other number of threads, an absolute path: the same shard."""
    write_folder(job / "data", samples(9))
    for number, name in enumerate(("Ä.npy", "a.npy", "Z.npy", "s10.npy", "s21.npy")):
        os.replace(job / "data" / f"s{number}.npy", job / "data" / name)
    shard = ["--shard", "2/3", "--provider", "cpu", "-q", "-o"]
    assert main(["collect", "model.onnx", str(job / "data"), *shard, "here.stats", "--threads", "2"]) == 0
    command = [sys.executable, "-m", "onnx_trtcal", "collect", "model.onnx", "data", *shard, "there.stats"]
    variables = {"LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--threads", "1"], check=True, env={**os.environ, **variables})
    assert (job / "here.stats").read_bytes() == (job / "there.stats").read_bytes()
