"""The statistics file: every collection survives it, every damage is noticed."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers.slow_histogram import any_array
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import CalibrationError, StatisticsError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.store import dumps, load_statistics, loads, save_statistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def a_collection(rule: str = "stable") -> Collection:
    collection = Collection(["x", "y:0"], model="ab" * 32, rule=rule, options={"observe": "fused"})
    values = np.random.default_rng(0).standard_normal((2, 500)).astype(np.float32)
    collection.add(["ä.png", "b\udc80.npy"], ["1" * 64, "2" * 64], {"x": values, "y:0": values**3})
    collection.add(["c"], ["3" * 64], {"x": np.float32([np.nan, 0.5]), "y:0": np.zeros(3, np.float32)})
    return collection


def reseal(data: bytes, change: object) -> bytes:
    """The file with its header changed and the checksum made right again."""
    size = struct.unpack_from("<Q", data, 12)[0]
    header = json.loads(data[20 : 20 + size])
    change(header)  # type: ignore[operator]
    text = json.dumps(header).encode()
    body = data[:12] + struct.pack("<Q", len(text)) + text + data[20 + size : -32]
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_what_is_saved_is_loaded(rule: str, tmp_path: Path) -> None:
    collection = a_collection(rule)
    save_statistics(tmp_path / "a.stats", collection)
    loaded = load_statistics(tmp_path / "a.stats")
    assert loaded == collection
    assert loaded.first_nonfinite == {"x": "c"}
    assert dumps(loaded) == (tmp_path / "a.stats").read_bytes()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(any_array(), max_size=3), st.sampled_from(["stable", "tensorrt"]))
@example([np.array([3.40282357e38])], "tensorrt")  # finite in float64, Inf in float32
def test_any_histogram_survives(arrays: list[np.ndarray], rule: str) -> None:
    collection = Collection([str(i) for i in range(len(arrays))], model="", rule=rule)
    collection.add(["s"], ["h"], {str(i): array for i, array in enumerate(arrays)})
    assert loads(dumps(collection)) == collection


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 32767), st.integers(1, 2**59)), max_size=12))
@example([(0, 15), (63, 16), (64, 255), (127, 256), (32767, 16**15 - 1)])
def test_any_counts_survive(cells: list[tuple[int, int]]) -> None:
    collection = Collection(["t"], model="")
    histogram = collection.histograms["t"]
    histogram.width = 1 / 32768
    counts = np.zeros(32768, np.int64)
    for place, number in cells[:8]:
        counts[place] = number
        histogram.amax = max(histogram.amax, (place + 1) / 32768)
    histogram.counts = counts
    histogram.total = int(histogram.counts.sum())
    assert loads(dumps(collection)) == collection


def test_going_on_after_loading_is_as_if_never_stopped() -> None:
    more = np.linspace(-9, 9, 1001, dtype=np.float32).reshape(1, -1)
    for rule in ("stable", "tensorrt"):
        straight, resumed = a_collection(rule), loads(dumps(a_collection(rule)))
        for collection in (straight, resumed):
            collection.add(["d"], ["4" * 64], {"x": more, "y:0": more})
        assert dumps(straight) == dumps(resumed)


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    data = dumps(a_collection())
    random = np.random.default_rng(1)
    for place in [*range(60), *random.integers(0, len(data), 60), len(data) - 1]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(random.integers(8))
        with pytest.raises(StatisticsError):
            loads(bytes(damaged))
    for size in [*range(60), *random.integers(60, len(data), 40)]:
        with pytest.raises(StatisticsError):
            loads(data[:size])


def test_foreign_damaged_and_newer_files_are_told_apart() -> None:
    data = dumps(a_collection())
    with pytest.raises(StatisticsError, match=r"not a statistics file.*\n.*where: notes\.txt"):
        loads(b"TRT-100300-EntropyCalibration2\nx: 3c010204\n", "notes.txt")
    with pytest.raises(StatisticsError, match="damaged or cut short"):
        loads(data[:-1])
    with pytest.raises(StatisticsError, match="damaged"):
        loads(data.replace(b"\r\n", b"\n", 1))
    with pytest.raises(StatisticsError, match=r"layout 2.*\n.*\n.*update onnx_trtcal"):
        loads(data[:8] + struct.pack("<I", 2) + data[12:], "a.stats")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("rule"),
        lambda header: header.update(rule="other"),
        lambda header: header.update(samples=3),
        lambda header: header["samples"].append(header["samples"][0]),
        lambda header: header["tensors"][0].update(total=1),
        lambda header: header["tensors"][0].update(bytes=10),
        lambda header: header["tensors"].pop(),
        lambda header: header.update(tensors=[]),
        lambda header: header["tensors"][0].update(amax="big"),
        lambda header: header["tensors"][0].update(first_nonfinite=None),
    ],
)
def test_a_sealed_file_that_contradicts_itself_is_refused(change: object) -> None:
    with pytest.raises(StatisticsError):
        loads(reseal(dumps(a_collection()), change))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(StatisticsError, match=r"No such file.*\n.*none\.stats"):
        load_statistics(tmp_path / "none.stats")
    with pytest.raises(CalibrationError, match="cannot write"):
        save_statistics(tmp_path / "none" / "a.stats", a_collection())
    assert list(tmp_path.iterdir()) == []


def test_five_hundred_tensors_stay_small() -> None:
    values = np.random.default_rng(0).standard_normal(300_000).astype(np.float32)
    names = [f"t{i}" for i in range(20)]
    collection = Collection(names, model="")
    collection.add(["s"], ["h"], {name: values * (i + 1) for i, name in enumerate(names)})
    assert len(dumps(collection)) / len(names) < 20_000


def test_reading_statistics_imports_no_compiler() -> None:
    code = (
        "import sys, onnx_trtcal.stats.store as s, onnx_trtcal.stats.collection as c; "
        "s.loads(s.dumps(c.Collection(['t'], model='')));"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def forged(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A statistics file with a header of somebody else's making, and the checksum that goes with it."""
    data = dumps(a_collection())
    length = struct.unpack_from("<Q", data, 12)[0]
    header = json.loads(data[20 : 20 + length])
    change(header)
    text = json.dumps(header).encode()
    body = data[:12] + struct.pack("<Q", len(text)) + text + data[20 + length : -32]
    return body + hashlib.sha256(body).digest()


ODD = (
    None,
    True,
    -1,
    1.5,
    "text",
    [],
    {},
    [[]],
    [1, 2],
    {"a": 1},
    float("inf"),
    float("nan"),
    10**400,
    1 << 63,
    "\ud800",
)


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("field", ["model", "rule", "options", "samples", "shapes", "shards", "tensors"])
def test_a_forged_header_is_read_or_refused(field: str, value: object) -> None:
    def change(header: dict[str, Any]) -> None:
        header[field] = value

    with suppress(StatisticsError):
        collection = loads(forged(change))
        assert dumps(collection)
        assert sorted(collection.samples) == collection.samples


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize(
    "field", ["name", "amax", "zeros", "nan", "inf", "total", "width", "first_nonfinite", "bytes"]
)
def test_a_forged_tensor_is_read_or_refused(field: str, value: object) -> None:
    def change(header: dict[str, Any]) -> None:
        header["tensors"][0][field] = value

    with suppress(StatisticsError):
        assert dumps(loads(forged(change)))


def test_a_sample_is_a_name_and_a_hash() -> None:
    with pytest.raises(StatisticsError, match="contradicts itself: samples of the header"):
        loads(forged(lambda header: header.update(samples=[[1.5, "a"]])))


@pytest.mark.parametrize(
    "shards",
    [
        {"of": 3, "data": "", "have": []},
        {"of": 3, "data": "", "have": [2, 1]},
        {"of": 3, "data": "", "have": [1, 1]},
        {"of": 3, "data": "", "have": [0]},
        {"of": 3, "data": "", "have": [4]},
        {"of": 3, "data": "", "have": [True]},
        {"of": 1 << 40, "data": "", "have": [1]},
        {"of": 3, "data": 1, "have": [1]},
        {"of": 3, "have": [1]},
        None,
    ],
)
def test_forged_shards_are_refused(shards: object) -> None:
    with pytest.raises(StatisticsError, match="contradicts itself: shards of the header"):
        loads(forged(lambda header: header.update(shards=shards)))
    fine = loads(forged(lambda header: header.update(shards={"of": 3, "data": "x", "have": [1, 3]})))
    assert fine.shards is not None and fine.shards.missing == [2] and loads(dumps(fine)) == fine


def test_a_header_nested_without_end_is_refused() -> None:
    text = b'{"model":' + b"[" * 100_000
    body = dumps(a_collection())[:12] + struct.pack("<Q", len(text)) + text
    with pytest.raises(StatisticsError, match="contradicts itself"):
        loads(body + hashlib.sha256(body).digest())


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(model="\ud800"),
        lambda header: header["samples"][0].__setitem__(1, "\ud800"),
        lambda header: header["options"].update(preprocess={"a": ["\ud800"]}),
        lambda header: header["tensors"][0].update(name="\ud800"),
        lambda header: header.update(shapes={"\ud800": [[1], [1], None]}),
        lambda header: header.update(shards={"of": 3, "data": "\ud800", "have": [1]}),
    ],
)
def test_half_of_a_character_is_refused_but_in_the_name_of_a_file(
    change: Callable[[dict[str, Any]], None],
) -> None:
    with pytest.raises(StatisticsError, match="contradicts itself"):
        loads(forged(change))
    fine = loads(forged(lambda header: header["tensors"][0].update(first_nonfinite="b\udc80.npy")))
    assert fine.first_nonfinite["x"] == "b\udc80.npy"
    assert "b\udc80.npy" in {name for name, _ in fine.samples}
