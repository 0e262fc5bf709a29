"""Runs on a Ray cluster of this machine: workers die, machines do not see the data, the user interrupts."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from helpers.small import CPU, RecordingListener, network, samples, write_folder

from onnx_trtcal import ClusterOptions, calibrate, collect, collect_on_cluster, save_statistics
from onnx_trtcal.cli import main
from onnx_trtcal.errors import CalibrationError, DataError
from onnx_trtcal.stats.store import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("ray", reason="the package ray is not installed")
pytestmark = pytest.mark.slow

OPTIONS = replace(CPU, batch_size=1)

# Data of 60 samples. The first process that gets to the 45th, which is in the middle of its shard, is killed.
DEADLY = """
import os, signal
import numpy as np

def load_data():
    for index in range(60):
        if index == 45:
            try:
                os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        yield np.random.default_rng(index).normal(size=(2, 4, 4)).astype(np.float32)
"""

SLOW = """
import os, pathlib, time
import numpy as np

def load_data():
    for index in range(10_000):
        pathlib.Path({folder!r}, str(os.getpid())).touch()
        time.sleep(0.02)
        yield np.full((2, 4, 4), index + 1, np.float32)
"""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    """A cluster of three workers at a time, which the runs of this module share."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False,
        object_store_memory=100 << 20,
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(network(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_worker_killed_in_the_middle_of_its_shard(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "killed"
    (tmp_path / "data.py").write_text(DEADLY.format(mark=str(mark)))
    flags = ["--provider", "cpu", "--threads", "1", "--batch-size", "1", "--save-stats"]
    run = ["model.onnx", "data.py", *flags, "ray.stats", "-o", "ray.cache"]
    assert main([*run, "--ray", "auto", "--shards", "5"]) == 0
    said = capsys.readouterr()
    assert mark.exists() and "/5 is collected again, on " in said.err
    assert "Ray cluster of 1 machine: 5 shards, up to 3 at a time with 1 thread each" in said.out
    assert said.out.count("execution provider: CPU") == 1 and said.out.count("BatchNorm folded") == 1
    alone = calibrate("model.onnx", "data.py", replace(OPTIONS, check_samples=0))
    alone.write_cache("alone.cache")
    save_statistics("alone.stats", alone.collection)
    for name in ("stats", "cache", "cache.json"):
        assert (tmp_path / f"ray.{name}").read_bytes() == (tmp_path / f"alone.{name}").read_bytes()


def test_more_shards_than_samples_and_a_tree_of_merges(model: Path, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", samples(7))
    listener = RecordingListener()
    found = collect_on_cluster(model, data, OPTIONS, ClusterOptions("auto", shards=18), listener=listener)
    assert dumps(found) == dumps(collect(model, data, OPTIONS)) and sum(listener.counts) == 7


def test_what_goes_wrong_names_the_machine(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="the data is not there on every machine") as error:
        collect_on_cluster(model, tmp_path / "nowhere", OPTIONS)
    assert f"{tmp_path / 'nowhere'}, on machine " in error.value.where
    data = write_folder(tmp_path / "data", samples(4))
    (data / "s2.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="the array cannot be read") as error:
        collect_on_cluster(model, data, OPTIONS, ClusterOptions("auto", shards=2))
    assert f"{data / 's2.npy'}, on machine " in error.value.where


def test_an_interrupt_ends_the_tasks(model: Path, tmp_path: Path) -> None:
    processes = tmp_path / "processes"
    processes.mkdir()
    (tmp_path / "data.py").write_text(SLOW.format(folder=str(processes)))

    class Impatient(RecordingListener):
        def progress(self, total: int | None, work: str = "") -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_on_cluster(
            model, tmp_path / "data.py", OPTIONS, ClusterOptions("auto", 3), listener=Impatient()
        )
    known = {int(path.name) for path in processes.iterdir()}
    deadline = time.monotonic() + 10
    while known and time.monotonic() < deadline:
        known = {process for process in known if _lives(process)}
        time.sleep(0.1)
    assert not known


def _lives(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    return False
