"""The text cache: what is read is written again to the byte, and a bad file is refused line by line."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import CacheError, OptionError
from onnx_trtcal.trt.cache import Cache, dumps, header_for, loads, read_cache, write_cache
from onnx_trtcal.trt.version import parse_version


def bits(scale: float) -> int:
    return int(np.float32(scale).view(np.uint32))


HEADER = b"TRT-100300-EntropyCalibration2\n"
LOOK_ALIKES = {
    "plain": HEADER + b"input: 3c010a14\n/conv/Conv_output_0: 3d8e5618\n",
    "colons": HEADER + b"input_1:0: 3c010a14\nscope: a: b: 4000890a\n:: 3f800000\n",
    "brackets": b"TRT-8501-MinMaxCalibration\n(Unnamed Layer* 3) [Constant]_output: 0\n a b : 3c010204\n",
    "unicode": b"TRT-8601-EntropyCalibration2\n" + "층/Ausgang_ü\u2028\x85: 3c010a14\n".encode(),
    "zero and infinity": b"TRT-101401-EntropyCalibration2\nz: 0\ni: 7f800000\ntiny: 1\n",
    "crlf": b"TRT-7200-EntropyCalibration2\r\nx: 3c010a14\r\ny: 0\r\n",
    "legacy": b"03ff00000000000003fe8000000000000\nip2: 3e0a1b2c\ndata: 3c010204\n",
    "third party": b"TRT-8XXX-EntropyCalibration2 \nx: 3c010a14\n",
    "no entries": HEADER,
}


@pytest.mark.parametrize("data", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_round_trip(data: bytes) -> None:
    assert dumps(loads(data)) == data
    assert dumps(loads(data.decode())) == data


def test_values_and_order() -> None:
    cache = loads(LOOK_ALIKES["colons"])
    assert list(cache.scales) == ["input_1:0", "scope: a: b", ":"]
    assert cache.scales["scope: a: b"] == np.frombuffer(bytes.fromhex("4000890a")[::-1], np.float32)[0]
    assert (cache.version, cache.algorithm, cache.newline) == ("100300", "EntropyCalibration2", "\n")
    assert loads(LOOK_ALIKES["crlf"]).newline == "\r\n"
    legacy = loads(LOOK_ALIKES["legacy"])
    assert (legacy.version, legacy.algorithm, list(legacy.scales)) == ("", "", ["ip2", "data"])


NAMES = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1).filter(
    str.strip
)
BITS = st.integers(0, 0x7F800000)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, BITS, max_size=6))
def test_any_name_and_scale_survives(entries: dict[str, int]) -> None:
    scales = {name: struct.unpack("<f", struct.pack("<I", bits))[0] for name, bits in entries.items()}
    data = dumps(Cache("TRT-8601-EntropyCalibration2", scales))
    assert data.decode().split("\n")[1:-1] == [f"{name}: {bits:x}" for name, bits in entries.items()]
    again = loads(data)
    assert list(again.scales.items()) == list(scales.items())


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        (b"", 0, "empty"),
        (b"input: 3c010a14\n", 1, "not a TensorRT calibration cache"),
        (b"\nTRT-8601-EntropyCalibration2\n", 1, "not a TensorRT calibration cache"),
        (HEADER + b"x: 3c010a14\n\ny: 3c010a14\n", 3, "blank"),
        (HEADER + b"x: 3c010a14\n   \n", 3, "blank"),
        (HEADER + b"x: 3c010a14\nx: 3c010a15\n", 3, "first is on line 2"),
        (HEADER + b"x: 3c010a1g\n", 2, "hexadecimal"),
        (HEADER + b"x: 03c010a14\n", 2, "hexadecimal"),
        (HEADER + b"x: 0x3c01\n", 2, "hexadecimal"),
        (HEADER + b"x:  3c010a14\n", 2, "hexadecimal"),
        (HEADER + b"x: 3c010a14\ny: \n", 3, "hexadecimal"),
        (HEADER + b"x 3c010a14\n", 2, "no value"),
        (HEADER + b"x:3c010a14\n", 2, "no value"),
        (HEADER + b": 3c010a14\n", 2, "no tensor name"),
        (HEADER + b"x: bc010a14\n", 2, "negative"),
        (HEADER + b"x: 7fc00000\n", 2, "nan"),
        (HEADER + b"x: 3c010a14\ny: 3c01", 3, "cut off"),
        (HEADER + b"x: 3c010a14\r\n", 2, "hexadecimal"),
        (b"TRT-8601-EntropyCalibration2\r\nx: 3c010a14\n", 2, "line feed alone"),
        (HEADER + b"x: 3c010a14\n\xff: 3c010a14\n", 3, "UTF-8"),
        (b"\x08\x07\x12\x07pytorch", 1, "not a TensorRT calibration cache"),
    ],
)
def test_bad_file_is_named_by_line(body: bytes, line: int, words: str) -> None:
    with pytest.raises(CacheError) as caught:
        loads(body, "some.cache")
    assert words in caught.value.what
    assert caught.value.where == (f"some.cache, line {line}" if line else "some.cache")


def test_last_line_may_lack_its_end_when_it_is_whole() -> None:
    assert list(loads(HEADER + b"x: 3c010a14").scales) == ["x"]
    assert list(loads(HEADER + b"x: 0").scales.values()) == [0.0]


@pytest.mark.parametrize("name", ["", "a\nb", "a\rb", "a\0b", "\ud800"])
def test_name_that_cannot_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(CacheError, match="name"):
        dumps(Cache(HEADER.decode().strip(), {"fine": 1.0, name: 1.0}))


@pytest.mark.parametrize("scale", [-1.0, -0.0, math.nan, -math.inf, 1e39, 1e-60])
def test_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(CacheError, match="'bad'"):
        dumps(Cache(HEADER.decode().strip(), {"fine": 1.0, "bad": scale}))


def test_header_is_checked_on_writing() -> None:
    with pytest.raises(CacheError, match="header"):
        dumps(Cache("TRT-8601", {"x": 1.0}))
    with pytest.raises(CacheError, match="line end"):
        dumps(Cache("TRT-8601-EntropyCalibration2", {"x": 1.0}, "\t"))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.cache"
    cache = loads(LOOK_ALIKES["plain"])
    write_cache(path, cache)
    assert path.read_bytes() == LOOK_ALIKES["plain"]
    assert read_cache(path) == cache
    with pytest.raises(CacheError, match="'bad'"):
        write_cache(path, Cache(cache.header, {"bad": math.nan}))
    assert path.read_bytes() == LOOK_ALIKES["plain"]
    with pytest.raises(CacheError) as caught:
        read_cache(tmp_path / "absent.cache")
    assert "absent.cache" in caught.value.where


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5.1", 5100),
        ("5.1.2", 5102),
        ("5102", 5102),
        ("6.0.1.5", 6001),
        ("7.2.3", 7203),
        ("8.6.1", 8601),
        ("8601", 8601),
        ("9.3.0", 9300),
        ("10.0.1", 100001),
        ("10.3", 100300),
        ("10.3.0", 100300),
        ("10.3.0.26", 100300),
        ("100300", 100300),
        (" 10.14.1 ", 101401),
        ("10.16", 101600),
    ],
)
def test_versions(text: str, number: int) -> None:
    assert parse_version(text).number == number
    assert header_for(text) == f"TRT-{number}-EntropyCalibration2"


@pytest.mark.parametrize("text", ["11", "11.0", "11.1.0", "110000", "12"])
def test_version_without_calibrators(text: str) -> None:
    with pytest.raises(OptionError, match="no INT8 calibrators") as caught:
        parse_version(text)
    assert "Q/DQ" in caught.value.fix


@pytest.mark.parametrize(
    "text", ["", "10", "8", "ten", "5.0", "4.0", "8.10", "10.17", "10.30", "8XXX", "10300", "-8.6", "٨.٦"]
)
def test_no_version(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_version(text)
    assert "10.3" in caught.value.fix


def test_algorithm() -> None:
    assert header_for("8.6", "MinMaxCalibration") == "TRT-8600-MinMaxCalibration"
    with pytest.raises(OptionError) as caught:
        header_for("8.6", "MinMaxCalibrator")
    assert "MinMaxCalibration" in caught.value.fix


def test_round_trip_tool(tmp_path: Path) -> None:
    tool = Path(__file__).parents[2] / "tools" / "roundtrip_caches.py"
    (tmp_path / "good.cache").write_bytes(LOOK_ALIKES["plain"])

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, tool, tmp_path], capture_output=True, text=True, check=False)

    good = run()
    assert (good.returncode, good.stdout) == (0, "1 caches, 2 entries: 1 the same byte for byte, 0 not\n")
    (tmp_path / "padded.cache").write_bytes(HEADER + b"x: 00000000\n")
    bad = run()
    assert bad.returncode == 1
    assert "padded.cache" in bad.stdout


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (
            "0.00787",
            f"0.00787 is {bits(0.00787):x} if it is the scale, {bits(0.00787 / 127):x} if it is the threshold",
        ),
        ("1.25e-2", f"1.25e-2 is {bits(0.0125):x} if it is the scale"),
        ("-0.5", "no scale is -0.5: calibrate again, or remove the line"),
        ("nan", "no scale is nan"),
        ("0x3c010a14", "write the bits of the float32 scale"),
        ("bc0103fe", "without its sign the scale would be 3c0103fe"),
        ("ffc00000", "NaN comes of a calibration that met NaN"),
        ("8081003c", "its bytes are in the wrong order: 3c008180 is 0.00784"),
    ],
)
def test_what_to_put_in_place_of_a_value_that_is_none(value: str, fix: str) -> None:
    with pytest.raises(CacheError) as caught:
        loads(f"TRT-8601-EntropyCalibration2\na: 3c010a14\nb: {value}\n")
    assert fix in caught.value.fix and caught.value.where.endswith("line 3")


def test_how_it_shows_itself() -> None:
    cache = Cache("TRT-8601-EntropyCalibration2", {"a<b>": 0.5})
    assert repr(cache) == "<Cache TRT-8601-EntropyCalibration2: 1 scales>"
    assert "<td>a&lt;b&gt;</td><td>0.5</td><td>63.5</td>" in cache._repr_html_()
