"""What an item is, found out by running a few alone and together; never by the names of dimensions."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import toys
from helpers.small import CPU, RecordingListener
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from PIL import Image

from onnx_trtcal import Options, calibrate
from onnx_trtcal.counting.trial import Trial, settle, tolerance
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.errors import DataError, ModelError, StatisticsError
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session
from onnx_trtcal.support.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx

ALL = replace(CPU, method="minmax", observe="all")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def recurrent(shape: Sequence[int | str | None], kind: str = "LSTM") -> onnx.ModelProto:
    """Time x batch x 5 -> LSTM or GRU -> MatMul, with the axes called what `shape` says."""
    gates = {"LSTM": 4, "GRU": 3}[kind]
    return toys.model(
        [
            toys.node(kind, "x w r", "h", hidden_size=6),
            toys.node("Squeeze", "h one", "s"),
            toys.node("MatMul", "s p", "y"),
        ],
        {"x": shape},
        ["y"],
        {
            "w": normal(1, gates * 6, 5, seed=1),
            "r": normal(1, gates * 6, 6, seed=2),
            "one": np.array([1], np.int64),
            "p": normal(6, 3, seed=3),
        },
    )


def cloud(shape: Sequence[int | str | None]) -> onnx.ModelProto:
    """Points x 3 -> features -> their maximum over all points."""
    return toys.model(
        [
            toys.node("MatMul", "x w", "f"),
            toys.node("ReduceMax", "f", "m", axes=[0], keepdims=1),
            toys.node("Sub", "f m", "d"),
        ],
        {"x": shape},
        ["d"],
        {"w": normal(3, 7, seed=4)},
    )


def attention() -> onnx.ModelProto:
    """Images whose positions attend to those of all images of the batch, by a Reshape to [1, -1, 8]."""
    return toys.model(
        [
            toys.node("Reshape", "x joined", "t"),
            toys.node("Transpose", "t", "tt", perm=[0, 2, 1]),
            toys.node("MatMul", "t tt", "s"),
            toys.node("Softmax", "s", "p", axis=-1),
            toys.node("MatMul", "p t", "y"),
        ],
        {"x": ["batch", 4, 8]},
        ["y"],
        {"joined": np.array([1, -1, 8], np.int64)},
    )


def expected(model: onnx.ModelProto, feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Per float tensor, the largest magnitude when every feed is run as it is."""
    shown = type(model)()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    for name in names:
        shown.graph.output.add(name=name)
    found: dict[str, float] = {}
    for feed in feeds:
        arrays = dict(zip(names, toys.run(shown, feed), strict=True))
        for name, array in {**arrays, **feed}.items():
            if array.dtype.kind == "f":
                found[name] = max(found.get(name, 0.0), float(np.abs(array).max()))
    return found


def check(
    model: onnx.ModelProto, data: Sequence[np.ndarray], feeds: Sequence[np.ndarray], options: Options = ALL
) -> list[str]:
    """Calibrates with several batch sizes; every one must find the ranges of `feeds` run one by one."""
    wanted = expected(model, [{"x": feed} for feed in feeds])
    said: list[list[str]] = []
    caches = set()
    for batch_size in (1, 3, 8, 32):
        listener = RecordingListener()
        got = calibrate(model, data, replace(options, batch_size=batch_size), listener=listener)
        for name, value in got.thresholds.items():
            assert value == pytest.approx(wanted[name], rel=1e-5), (name, batch_size)
        caches.add(tuple((name, item.scale) for name, item in got.scales.items()))
        said.append([text for text in listener.said if "one feed" in text or "one at a time" in text])
    assert len(caches) == 1
    assert all(lines == said[0] for lines in said)
    return said[0]


NAMES = [
    ("S", "B"),
    ("batch", "seq_len"),
    ("seq_len", "batch"),
    ("T", 1),
    (None, None),
    ("s0", 1),
    ("n", "n"),
    ("dynamic_axes_1", "dynamic_axes_2"),
    ("unk__1", "unk__2"),
    (-1, 1),
]


class TestSequences:
    @pytest.mark.parametrize("names", NAMES)
    @pytest.mark.parametrize("kind", ["LSTM", "GRU"])
    def test_a_time_major_one_stays_whole_whatever_its_axes_are_called(
        self, names: tuple[int | str | None, ...], kind: str
    ) -> None:
        data = [normal(length, 1, 5, seed=length) for length in (9, 11, 12, 12)]
        (line,) = check(recurrent((*names, 5), kind), data, data)
        assert "one file or item is one feed, exactly as given" in line and "'" in line

    def test_the_largest_number_of_samples_counts_whole_ones(self) -> None:
        data = [normal(length, 1, 5, seed=length) for length in (9, 11, 12)]
        got = calibrate(recurrent(("T", 1, 5)), data, replace(ALL, max_samples=1))
        assert len(got.collection.samples) == 1
        wanted = expected(recurrent(("T", 1, 5)), [{"x": data[0]}])
        assert got.thresholds["y"] == pytest.approx(wanted["y"], rel=1e-5)

    def test_silence_at_the_start_hides_nothing(self) -> None:
        """Equal rows would agree alone and together in a convolution over time."""
        model = toys.model(
            [
                toys.node("Transpose", "x", "t", perm=[1, 0]),
                toys.node("Unsqueeze", "t zero", "u"),
                toys.node("Conv", "u w", "y", pads=[1, 1]),
            ],
            {"x": ["N", 4]},
            ["y"],
            {"zero": np.array([0], np.int64), "w": normal(2, 4, 3, seed=5)},
        )
        data = [np.concatenate([np.zeros((70, 4), np.float32), normal(9, 4, seed=seed)]) for seed in (1, 2)]
        check(model, data, data)

    def test_rows_that_meet_from_afar(self) -> None:
        model = toys.model(
            [
                toys.node("Transpose", "x", "t", perm=[1, 0]),
                toys.node("Unsqueeze", "t zero", "u"),
                toys.node("Conv", "u w", "y", dilations=[4], pads=[4, 4]),
            ],
            {"x": ["batch_size", 4]},
            ["y"],
            {"zero": np.array([0], np.int64), "w": normal(2, 4, 3, seed=5)},
        )
        data = [normal(30, 4, seed=seed) for seed in (1, 2)]
        check(model, data, data)


def test_rows_that_do_not_run_alone_stay_together() -> None:
    model = toys.model(
        [toys.node("Reshape", "x fours", "r"), toys.node("Softmax", "r", "y", axis=1)],
        {"x": ["N", 8]},
        ["y"],
        {"fours": np.array([-1, 4, 8], np.int64)},
    )
    data = [normal(length, 8, seed=length) for length in (8, 12)]
    (line,) = check(model, data, data)
    assert "one row of axis 0 does not run alone: ONNX Runtime fails" in line


@pytest.mark.parametrize("shape", [("P", 3), ("batch", 3), (None, 3), ("num_points", 3)])
def test_a_point_cloud_stays_whole(shape: tuple[int | str | None, ...]) -> None:
    data = [normal(count, 3, seed=count) for count in (50, 51, 53)]
    (line,) = check(cloud(shape), data, data)
    assert "tensor 'd' is not the same when items are run together" in line


def test_images_that_a_reshape_joins_are_fed_one_by_one() -> None:
    data = [normal(4, 8, seed=seed) for seed in range(7)]
    (line,) = check(attention(), data, [each[None] for each in data])
    assert "tensor 's' has shape (1, 4, 4) for one item, " in line


def test_image_files_are_one_item_each(tmp_path: Path) -> None:
    model = toys.model(
        [
            toys.node("ReduceMean", "x", "m", axes=[0], keepdims=1),
            toys.node("Add", "x m", "y"),
        ],
        {"x": ["N", 3, 8, 8]},
        ["y"],
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    for batch_size in (1, 8):
        got = calibrate(model, tmp_path, replace(ALL, batch_size=batch_size))
        assert len(got.collection.samples) == 5
        assert got.thresholds["y"] == pytest.approx(2 * float(pixels.max()) / 255, rel=1e-6)


def test_what_does_not_run_together_runs_one_at_a_time_from_a_stack_too() -> None:
    model = toys.model(
        [toys.node("Reshape", "x one", "r"), toys.node("Relu", "r", "y")],
        {"x": ["N", 2, 4]},
        ["y"],
        {"one": np.array([1, 8], np.int64)},
    )
    stack = normal(9, 2, 4)
    (line,) = check(model, [stack], [each[None] for each in stack])
    assert line.startswith("items are run one at a time, because ") and "Reshape" in line


def test_a_stack_is_cut_where_a_tensor_depends_on_no_item() -> None:
    model = toys.model(
        [
            toys.node("Shape", "x", "shape"),
            toys.node("Gather", "shape one", "width"),
            toys.node("Cast", "width", "w", to=TensorProto.FLOAT),
            toys.node("Div", "x w", "y"),
        ],
        {"x": ["N", 4]},
        ["y"],
        {"one": np.array(1, np.int64)},
    )
    stack = normal(9, 4)
    (line,) = check(model, [stack], [each[None] for each in stack])
    assert line.startswith("items are run one at a time: tensor 'w' depends on none of them")
    assert len(calibrate(model, [stack], ALL).collection.samples) == 9


def test_independent_rows_are_batched_and_nothing_is_said() -> None:
    model = toys.model(
        [toys.node("MatMul", "x w", "a"), toys.node("Relu", "a", "y")],
        {"x": ["seq_len", 4]},
        ["y"],
        {"w": normal(4, 4, seed=1)},
    )
    stack = normal(12, 4)
    assert check(model, [stack], [each[None] for each in stack]) == []


def test_few_runs_are_spent_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def watch(plain: Callable[..., list[np.ndarray]]) -> Callable[..., list[np.ndarray]]:
        def watched(
            self: Session, feeds: dict[str, np.ndarray], sample: str, *device: str | None
        ) -> list[np.ndarray]:
            sizes.append(len(feeds["x"]))
            return plain(self, feeds, sample, *device)

        return watched

    monkeypatch.setattr(Session, "run", watch(Session.run))
    monkeypatch.setattr(Session, "run_to_count", watch(Session.run_to_count))
    data = [normal(3, 32, 32, seed=seed) for seed in range(16)]
    # Nothing says of this op that it keeps rows apart.
    calibrate(toys.model([toys.node("Atan", "x", "y")], {"x": ["N", 3, 32, 32]}, ["y"]), data, CPU)
    assert sizes == [1, 3, 1, 1, 8, 8]
    sizes.clear()
    calibrate(toys.model([toys.node("Relu", "x", "y")], {"x": ["N", 3, 32, 32]}, ["y"]), data, CPU)
    assert sizes == [8, 8]


class TestFixedBatch:
    CLOUDS = tuple(normal(8, 3, seed=seed) * (1 + seed) for seed in range(9))

    def test_one_that_mixes_its_rows_is_never_cut_short(self) -> None:
        """With 72 samples a look at the scales after 54 would end a batch in the middle of a cloud."""
        assert check(cloud((8, 3)), self.CLOUDS, self.CLOUDS) == []

    def test_what_fills_up_the_last_batch_is_said_to_count(self) -> None:
        listener = RecordingListener()
        calibrate(cloud((8, 3)), np.concatenate(self.CLOUDS)[:70], ALL, listener=listener)
        assert any("rows that only fill up the last batch take part" in text for text in listener.said)
        listener = RecordingListener()
        calibrate(cloud((8, 3)), np.concatenate(self.CLOUDS), ALL, listener=listener)
        assert not any("fill up" in text for text in listener.said)

    def test_one_that_keeps_its_rows_apart_is_padded_silently(self) -> None:
        model = toys.model(
            [toys.node("MatMul", "x w", "y")], {"x": [4, 3]}, ["y"], {"w": normal(3, 3, seed=1)}
        )
        listener = RecordingListener()
        got = calibrate(model, normal(7, 3), ALL, listener=listener)
        assert got.collection.histograms["y"].counts.sum() <= 21
        assert not any("fixed batch" in text for text in listener.said)


class TestIterators:
    def test_nothing_that_was_tried_is_lost(self) -> None:
        rows = normal(40, 4)
        model = toys.model([toys.node("Relu", "x", "y")], {"x": ["N", 4]}, ["y"])
        listed = calibrate(model, list(rows), ALL)
        for data in (iter(rows), (row for row in rows), lambda: iter(rows)):
            got = calibrate(model, data, ALL)
            assert got.collection == listed.collection and got.scales == listed.scales

    def test_items_are_found_to_be_whole(self) -> None:
        data = [normal(count, 3, seed=count) for count in (50, 51, 53)]
        wanted = calibrate(cloud(("N", 3)), data, ALL)
        assert calibrate(cloud(("N", 3)), iter(data), ALL).scales == wanted.scales

    def test_an_error_comes_in_its_place(self) -> None:
        def broken() -> Iterator[np.ndarray]:
            yield from normal(5, 4)
            raise KeyError("lost")

        counted: list[int] = []

        class Counting(RecordingListener):
            def progress(self, total: int | None, work: str = "") -> object:
                context = super().progress(total, work)
                self.counts = counted
                return type(context)(counted.append)

        model = toys.model([toys.node("Relu", "x", "y")], {"x": ["N", 4]}, ["y"])
        with pytest.raises(KeyError, match="lost"):
            calibrate(model, broken(), replace(ALL, batch_size=1), listener=Counting())
        assert sum(counted) == 5

    def test_methods_that_run_the_model_keep_their_samples(self) -> None:
        model = toys.model(
            [toys.node("MatMul", "x w", "a"), toys.node("Relu", "a", "y")],
            {"x": ["N", 8]},
            ["y"],
            {"w": normal(8, 8, seed=1)},
        )
        rows, options = normal(24, 8), replace(CPU, method="auto")
        assert calibrate(model, iter(rows), options).scales == calibrate(model, list(rows), options).scales


def with_state(*, scalar: bool = False) -> onnx.ModelProto:
    """x: batch x time x 5, state: 1 x batch x 6, both through an LSTM whose batch is on axis 1."""
    nodes = [
        toys.node("Transpose", "x", "t", perm=[1, 0, 2]),
        toys.node("LSTM", ["t", "w", "r", "", "", "state"], ["h", "hn"], hidden_size=6),
    ]
    inputs: dict[str, Sequence[int | str | None]] = {"x": ["b", "t", 5], "state": [1, "b", 6]}
    if scalar:
        nodes.append(toys.node("Mul", "hn rate", "y"))
        inputs["rate"] = []
    constants = {"w": normal(1, 24, 5, seed=1), "r": normal(1, 24, 6, seed=2)}
    return toys.model(nodes, inputs, ["y"] if scalar else ["hn"], constants)


class TestItemAxis:
    AXES = ("x=0", "state=1")

    def test_a_state_has_its_items_on_another_axis(self) -> None:
        count = 7
        x, state = normal(count, 4, 5), normal(1, count, 6, seed=9)
        alone = [{"x": x[i : i + 1], "state": state[:, i : i + 1]} for i in range(count)]
        wanted = expected(with_state(), alone)
        forms = [
            {"x": x, "state": state},
            alone,
            [{"x": x[i], "state": state[:, i]} for i in range(count)],
            [{"x": x[:3], "state": state[:, :3]}, {"x": x[3:], "state": state[:, 3:]}],
        ]
        caches = set()
        for data in forms:
            for batch_size in (1, 3, 8):
                got = calibrate(with_state(), data, replace(ALL, item_axis=self.AXES, batch_size=batch_size))
                assert len(got.collection.samples) == count
                for name, value in got.thresholds.items():
                    assert value == pytest.approx(wanted[name], rel=1e-5)
                caches.add(tuple(item.scale for item in got.scales.values()))
        assert len(caches) == 1

    def test_is_said_and_shapes_follow_it(self) -> None:
        data = {"x": normal(5, 4, 5), "state": normal(1, 5, 6)}
        listener = RecordingListener()
        got = calibrate(with_state(), data, replace(ALL, item_axis=self.AXES), listener=listener)
        line = "items are stacked as --item-axis x=0 state=1 says: 'x' along axis 0, 'state' along axis 1"
        assert line in listener.said
        assert got.seen_shapes["state"].largest == (1, 5, 6) and got.seen_shapes["state"].item_axis == 1

    def test_items_that_differ_in_what_they_share_do_not_run_together(self) -> None:
        def element(i: int, rate: float) -> dict[str, np.ndarray]:
            return {
                "x": normal(2, 4, 5, seed=i),
                "state": normal(1, 2, 6, seed=i),
                "rate": np.array(rate, np.float32),
            }

        data = [element(0, 1), element(1, 1), element(2, 50), element(3, 50)]
        wanted = expected(with_state(scalar=True), data)
        options = replace(ALL, item_axis=("x=0", "state=1"))
        got = calibrate(with_state(scalar=True), data, options)
        assert len(got.collection.samples) == 8
        assert got.thresholds["y"] == pytest.approx(wanted["y"], rel=1e-5)

    def test_none_keeps_files_whole_and_a_number_cuts_them(self) -> None:
        data = [normal(count, 3, seed=count) for count in (10, 11)]
        whole = calibrate(cloud(("N", 3)), data, replace(ALL, item_axis=("none",)))
        assert whole.scales == calibrate(cloud(("N", 3)), data, ALL).scales
        cut = calibrate(cloud(("N", 3)), data, replace(ALL, item_axis=("0",), batch_size=1))
        assert len(cut.collection.samples) == 21 and cut.thresholds["d"] == 0

    def test_one_input_may_be_shared_by_the_items_of_a_file(self) -> None:
        model = toys.model([toys.node("MatMul", "x m", "y")], {"x": ["N", 3], "m": ["K", 3]}, ["y"])
        data = [{"x": normal(4, 3, seed=seed), "m": normal(3, 3, seed=seed + 9)} for seed in range(3)]
        got = calibrate(model, data, replace(ALL, item_axis=("m=none",)))
        assert len(got.collection.samples) == 12
        assert got.thresholds["y"] == pytest.approx(expected(model, data)["y"], rel=1e-5)

    def test_statistics_under_other_axes_do_not_add_up(self, tmp_path: Path) -> None:
        model = toys.model([toys.node("Relu", "x", "y")], {"x": ["N", "M"]}, ["y"])
        data = normal(6, 6)
        plain = calibrate(model, data, ALL)
        first = calibrate(model, data, replace(ALL, item_axis=("0",)))
        other = calibrate(model, data, replace(ALL, item_axis=("x=1",)))
        with pytest.raises(StatisticsError):
            first.collection.origin.check_same(other.collection.origin)
        assert first.collection.origin.options["item_axis"] == {"x": 0}
        assert "item_axis" not in plain.provenance.options
        assert other.provenance.options["item_axis"] == {"x": 1}

    def test_a_failure_of_the_runtime_names_the_flag(self) -> None:
        model = toys.model(
            [toys.node("MatMul", "x w", "y")], {"x": ["N", "M"]}, ["y"], {"w": np.ones((4, 3), np.float32)}
        )
        with pytest.raises(ModelError, match="ONNX Runtime fails") as caught:
            calibrate(model, normal(4, 6), replace(ALL, item_axis=("x=1",), batch_size=3))
        assert "as --item-axis x=1 says" in caught.value.where and "--item-axis" in caught.value.fix

    def test_inputs_with_unequal_counts_name_the_flag(self) -> None:
        data = {"x": normal(5, 4, 5), "state": normal(1, 4, 6)}
        with pytest.raises(DataError, match="'x' holds 5, 'state' holds 4") as caught:
            calibrate(with_state(), data, replace(ALL, item_axis=self.AXES))
        assert "--item-axis NAME=N" in caught.value.fix


APART = {
    "relu": lambda a, out: [toys.node("Relu", a, out)],
    "matmul": lambda a, out: [toys.node("MatMul", [a, "w"], out)],
    "softmax": lambda a, out: [toys.node("Softmax", a, out, axis=1)],
    "mean of a row": lambda a, out: [
        toys.node("ReduceMean", a, f"{out}_m", axes=[1], keepdims=1),
        toys.node("Sub", [a, f"{out}_m"], out),
    ],
    "there and back": lambda a, out: [
        toys.node("Transpose", a, f"{out}_t", perm=[1, 0]),
        toys.node("Sigmoid", f"{out}_t", f"{out}_s"),
        toys.node("Transpose", f"{out}_s", out, perm=[1, 0]),
    ],
}
MIXING = {
    "mean of a column": lambda a, out: [
        toys.node("ReduceMean", a, f"{out}_m", axes=[0], keepdims=1),
        toys.node("Sub", [a, f"{out}_m"], out),
    ],
    "softmax over rows": lambda a, out: [toys.node("Softmax", a, out, axis=0)],
    "sum so far": lambda a, out: [toys.node("CumSum", [a, "zero"], out)],
    "products of rows": lambda a, out: [
        toys.node("Transpose", a, f"{out}_t", perm=[1, 0]),
        toys.node("MatMul", [a, f"{out}_t"], f"{out}_s"),
        toys.node("MatMul", [f"{out}_s", a], out),
    ],
}


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.sampled_from([*APART, *MIXING]), min_size=1, max_size=4),
    name=st.sampled_from(["N", "batch", "seq_len", "T", None, "n"]),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_random_graphs_have_the_ranges_of_whole_files(
    steps: list[str], name: str | None, lengths: list[int], seed: int
) -> None:
    nodes, last = [], "x"
    for index, step in enumerate(steps):
        nodes += {**APART, **MIXING}[step](last, f"t{index}")
        last = f"t{index}"
    constants = {"w": normal(4, 4, seed=seed), "zero": np.array(0, np.int64)}
    model = toys.model(nodes, {"x": [name, 4]}, [last], constants)
    data = [normal(length, 4, seed=seed + 1 + index) for index, length in enumerate(lengths)]
    lines = check(model, data, data)
    if len(data) > 1 or lengths[0] > 1:
        assert bool(lines) == any(step in MIXING for step in steps)


def test_types_that_round_more_may_differ_more() -> None:
    cpu, cuda = Provider("cpu", ""), Provider("cuda", "")
    assert tolerance([TensorProto.FLOAT], cpu) == 1e-4
    assert 1e-3 < tolerance([TensorProto.FLOAT, TensorProto.FLOAT16], cpu) < 1e-2
    assert 1e-3 < tolerance([TensorProto.FLOAT], cuda) < 1e-2


def test_the_joint_run_and_one_more_are_in_memory_at_a_time() -> None:
    spec = InputSpec("x", np.dtype(np.float32), ("n", 2000))
    source = open_source(list(normal(5, 1, 2000)), [spec])
    held: dict[int, int] = {}
    most = 0

    def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        nonlocal most
        array = feeds["x"] * 2
        held[id(array)] = len(array)
        weakref.finalize(array, held.pop, id(array))
        most = max(most, sum(held.values()))
        return [array]

    settle(source, Trial(("y",), run, 1e-4), RecordingListener())
    assert most == 4  # three items together, and one of them alone
    assert not held
