"""The parts of a run on a cluster that need no cluster."""

from __future__ import annotations

import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from helpers.small import CPU, RecordingListener, network, samples, write_folder

from onnx_trtcal import ClusterOptions, calibrate_on_cluster, collect_on_cluster
from onnx_trtcal.cli import main
from onnx_trtcal.cluster import delivery
from onnx_trtcal.cluster.board import Board, Standing
from onnx_trtcal.cluster.delivery import pack_model, remove_model, unpack_model
from onnx_trtcal.cluster.meter import Meter
from onnx_trtcal.cluster.node import Node, check_alike, this_node
from onnx_trtcal.cluster.session import room_for
from onnx_trtcal.cluster.tasks import Failure, Job, look_around, run_shard
from onnx_trtcal.cluster.tree import MergeTree
from onnx_trtcal.errors import (
    CalibrationError,
    DataError,
    ModelError,
    NonFiniteError,
    OptionError,
    ProviderError,
)
from onnx_trtcal.graph.model.load import load
from onnx_trtcal.stats.store import loads


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40, 256, 257, 1000])
def test_a_tree_takes_every_part_once(count: int) -> None:
    widths = []

    def merge(*parts: tuple[frozenset[int], int]) -> tuple[frozenset[int], int]:
        widths.append(len(parts))
        assert sum(len(each) for each, _ in parts) == len(frozenset().union(*(each for each, _ in parts)))
        return frozenset().union(*(each for each, _ in parts)), 1 + max(height for _, height in parts)

    tree = MergeTree(merge)
    for part in range(count):
        tree.add((frozenset({part}), 0))
    total, height = tree.total()
    assert total == frozenset(range(count))
    assert max(widths, default=0) <= 16 and height <= (0 if count == 1 else 1 if count <= 16 else 4)


class TestNodes:
    NODE = Node("here", "1 (ab)", {"numpy": "2.0", "onnxruntime": "1.20"}, "a processor")

    def test_alike(self) -> None:
        assert check_alike(self.NODE, [self.NODE, replace(self.NODE, name="there")]) == []
        assert this_node().packages.keys() >= {"numpy", "onnx"} and this_node().processor

    def test_other_code_is_an_error(self) -> None:
        with pytest.raises(CalibrationError, match=r"there has onnx_trtcal 2 \(cd\), and here has 1 \(ab\)"):
            check_alike(self.NODE, [replace(self.NODE, name="there", code="2 (cd)")])

    def test_what_may_round_otherwise_is_told(self) -> None:
        other = replace(self.NODE, name="there", packages={"numpy": "2.1"}, processor="another")
        lines = check_alike(self.NODE, [self.NODE, other])
        assert lines[0].startswith("numpy is 2.0 on here, 2.1 on there: the bytes of the result may depend")
        assert (
            lines[1].startswith("the processors differ: a processor in here, another in there.")
            and len(lines) == 2
        )


class TestDelivery:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
        (tmp_path / "machine").mkdir()
        return tmp_path

    def test_a_model_with_its_weights_beside_it(self, folder: Path) -> None:
        path = folder / "m.onnx"
        onnx.save(network(), path, save_as_external_data=True, location="m.data", size_threshold=8)
        parcel = pack_model(path)
        assert parcel.files.keys() == {"m.onnx", "m.data"}
        whole = load(path).sha256
        path.unlink()
        there = unpack_model(pickle.loads(pickle.dumps(parcel)))
        assert load(there).sha256 == whole
        before = os.stat(there).st_mtime_ns
        assert unpack_model(parcel) == there and os.stat(there).st_mtime_ns == before
        remove_model(parcel.key)
        assert list((folder / "machine").iterdir()) == []

    def test_a_model_in_memory(self) -> None:
        parcel = pack_model(network())
        assert load(unpack_model(parcel)).sha256 == load(network()).sha256

    def test_runs_of_one_model_leave_each_other_alone(self, folder: Path) -> None:
        for name in ("a.onnx", "b.onnx"):
            onnx.save(network(), folder / name)
        one, other = pack_model(folder / "a.onnx"), pack_model(folder / "b.onnx")
        assert (unpack_model(one).name, unpack_model(other).name) == ("a.onnx", "b.onnx")
        remove_model(one.key)
        assert load(unpack_model(other)).sha256 == load(network()).sha256
        remove_model(other.key)
        assert list((folder / "machine").iterdir()) == []

    def test_what_is_no_model_file(self) -> None:
        with pytest.raises(ModelError, match="is sent a model file or a ModelProto"):
            pack_model(load(network()))

    def test_weights_are_not_written_elsewhere(self, folder: Path) -> None:
        parcel = pack_model(network())
        bad = replace(parcel, files={**parcel.files, "../../out": np.zeros(3, np.uint8)})
        with pytest.raises(ModelError, match="outside its folder"):
            unpack_model(bad)
        assert not list(folder.rglob("out"))

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have numbers on POSIX only")
    def test_a_folder_of_somebody_else(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        parcel = pack_model(network())
        link = folder / "machine" / f"onnx_trtcal-models-{os.getuid()}"
        link.symlink_to(folder)
        with pytest.raises(CalibrationError, match="belongs to another user"):
            unpack_model(parcel)

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(delivery.tempfile, "mkdtemp", full)
        with pytest.raises(CalibrationError, match="cannot be written to this machine: No space left"):
            unpack_model(pack_model(network()))


def ray_of(*machines: tuple[float, float]) -> SimpleNamespace:
    """A stand-in that knows machines of so many CPUs and GPUs; one more is dead."""
    nodes = [
        {"NodeID": str(at), "Alive": True, "Resources": {"CPU": cpus, **({"GPU": gpus} if gpus else {})}}
        for at, (cpus, gpus) in enumerate(machines)
    ]
    return SimpleNamespace(nodes=lambda: [*nodes, {"NodeID": "x", "Alive": False, "Resources": {"CPU": 99}}])


@pytest.mark.parametrize(
    ("machines", "options", "threads", "gpus", "tasks"),
    [
        (((16, 0), (8, 0)), CPU, 1, 0, 24),
        (((16, 0), (7, 0)), replace(CPU, threads=None), 4, 0, 5),
        (((2, 0), (1, 0)), replace(CPU, threads=None), 2, 0, 1),
        (((16, 2), (64, 0)), replace(CPU, threads=None), 4, 0, 20),
        (((16, 2), (64, 0), (4, 4)), replace(CPU, threads=None, provider="auto"), 4, 1, 3),
        (((2, 2), (64, 0)), replace(CPU, threads=None, provider="cuda"), 2, 1, 1),
    ],
)
def test_what_a_task_takes(machines, options, threads: int, gpus: int, tasks: int) -> None:
    room = room_for(ray_of(*machines), options)
    assert (room.threads, room.gpus, room.tasks) == (threads, gpus, tasks) and "x" not in room.nodes


def test_a_cluster_without_room() -> None:
    with pytest.raises(OptionError, match="offers the 9 CPUs"):
        room_for(ray_of((8, 0), (4, 0)), replace(CPU, threads=9))
    with pytest.raises(ProviderError, match="no machine of the cluster has a GPU"):
        room_for(ray_of((8, 0)), replace(CPU, provider="cuda"))


def test_the_board_and_the_meter() -> None:
    board, listener = Board(), RecordingListener()
    with Meter(listener, 3) as meter:
        meter.update(board.standing())
        board.start(1, "a", 11)
        board.start(2, "b", 22)
        board.tell_total(9)
        for _ in range(2):
            board.say("a line", warning=False)
            board.say("a warning", warning=True)
        board.count(1, 2)
        meter.update(board.standing())
        board.count(2, 3)
        board.start(1, "b", 33)
        meter.update(board.standing())
        board.count(1, 3)
        meter.update(board.standing())
        meter.update(board.standing())
        board.say("a line", warning=False)
        assert board.standing().said == [] and board.standing().total == 9
    assert listener.said == ["a line"] and listener.counts == [2, 1, 3]
    warning, again = listener.warned
    assert warning == "a warning"
    assert again.startswith(
        "shard 1/3 is collected again, on b in process 33: the worker that had it, process 11 on a"
    )
    assert Standing() == Board().standing()


def test_an_error_travels_whole() -> None:
    error = NonFiniteError("what", details=["one", "two"], where="w", fix="f")
    again = pickle.loads(pickle.dumps(Failure.of(error))).error("node7")
    assert type(again) is NonFiniteError and again.lines()[:3] == error.lines()[:3]
    assert again.where == "w, on machine node7" and again.fix == "f"


def test_whether_a_machine_sees_the_data(tmp_path: Path) -> None:
    (tmp_path / "l.py").write_text("")
    there = (str(tmp_path), str(tmp_path / "*.png"), f"{tmp_path}/l.py:load", f"{tmp_path}/l.py", "s3://b/x")
    assert look_around(Job(there, CPU, 2, str(tmp_path))).failure is None
    for gone in (tmp_path / "x", f"{tmp_path}/no.py:load"):
        failure = look_around(Job((*there, str(gone)), CPU, 2, str(tmp_path))).failure
        assert failure and failure.where == str(gone) and "not there on every machine" in failure.what


class NoBoard:
    """A board that nobody reads."""

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *_, **__: None)


def test_a_task_works_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "data", samples(3))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.txt").write_text("data/s2.npy\ndata/s0.npy\n")
    (tmp_path / "load.py").write_text(
        "import numpy as np\n\ndef load_data():\n    return [np.load(f'data/s{i}.npy') for i in (2, 0)]\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("lists/list.txt", "load.py"):
        job = Job((str(tmp_path / name),), CPU, 1, str(tmp_path))
        outcome, statistics = run_shard(job, pack_model(network()), 1, NoBoard())
        assert outcome.failure is None and len(loads(statistics).samples) == 2
        assert Path.cwd() == tmp_path / "elsewhere"
        # A machine that lacks the folder runs what does not need it.
        outcome, _ = run_shard(
            replace(job, folder=str(tmp_path / "gone")), pack_model(network()), 1, NoBoard()
        )
        assert outcome.failure is not None
    outcome, _ = run_shard(
        Job((str(tmp_path / "data"),), CPU, 1, str(tmp_path / "gone")), pack_model(network()), 1, NoBoard()
    )
    assert outcome.failure is None


class TestRefusals:
    def test_options(self) -> None:
        for options in ({"address": ""}, {"shards": 0}, {"shards": True}, {"retries": -1}):
            with pytest.raises(OptionError):
                ClusterOptions(**options)

    def test_data_without_a_path(self) -> None:
        with pytest.raises(DataError, match="a cluster reads data by its path, and this is list"):
            collect_on_cluster(network(), [np.zeros((2, 4, 4), np.float32)], CPU)

    @pytest.mark.parametrize("method", ["auto", "mxnet"])
    def test_methods_that_read_data_again(self, method: str) -> None:
        with pytest.raises(OptionError, match=f"method {method} reads the data again"):
            calibrate_on_cluster(network(), "data", replace(CPU, method=method))

    def test_options_that_exclude_shards(self) -> None:
        for options in (replace(CPU, until_stable=0.1), replace(CPU, range="tensorrt")):
            for function in (collect_on_cluster, calibrate_on_cluster):
                with pytest.raises(OptionError, match="shards"):
                    function(network(), "data", options)

    def test_flags(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
        monkeypatch.chdir(tmp_path)
        onnx.save(network(), "m.onnx")
        Path("data").mkdir()
        for verb in ([], ["collect"]):
            assert main([*verb, "m.onnx", "data", "--shards", "3"]) == 1
            assert "--shards goes with --ray" in capsys.readouterr().err
        assert main(["collect", "m.onnx", "data", "--ray", "auto", "--shard", "1/3"]) == 1
        assert "give one of the two" in capsys.readouterr().err

    @pytest.mark.parametrize("form", ["{}", "ray://{}", "auto"])
    def test_an_address_where_nothing_listens(self, form: str, tmp_path: Path, monkeypatch) -> None:
        with socket.socket() as taken:  # bound, so that nobody else listens there
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            monkeypatch.setenv("RAY_ADDRESS", address)
            stand_in = SimpleNamespace(is_initialized=lambda: False)
            monkeypatch.setitem(__import__("sys").modules, "ray", stand_in)
            with pytest.raises(
                CalibrationError, match=r"the Ray cluster cannot be reached: .*refused"
            ) as error:
                collect_on_cluster(network(), str(tmp_path), CPU, ClusterOptions(form.format(address)))
        assert error.value.where == form.format(address)

    def test_without_ray(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setitem(__import__("sys").modules, "ray", None)
        with pytest.raises(CalibrationError, match="a cluster needs the package ray") as error:
            collect_on_cluster(network(), str(tmp_path), CPU)
        assert "pip install 'onnx_trtcal[ray]'" in error.value.fix
