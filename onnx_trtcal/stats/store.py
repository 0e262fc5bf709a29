"""The statistics file: a Collection as one file, the same bytes wherever and whenever it is written.

Layout, all numbers little-endian:

    8 bytes    magic  89 54 43 53 0d 0a 1a 0a  ("TCS"; transfers that change line ends change it)
    uint32     version of the layout, 1
    uint64     length of the header
    header     JSON in ASCII, keys sorted, no spaces:
                 model    SHA-256 of the model
                 rule     "stable" or "tensorrt"
                 options  object: what else must be equal for two files to add up
                 samples  [[name, hash], …] sorted
                 shards   {of, data, have} while it holds only some shards of a run: how many the data was split
                          into, the hash of its names, and the numbers of those at hand; missing otherwise
                 shapes   {input: [smallest, largest, item axis or null]} of one sample; missing where not known
                 tensors  [{name, amax, zeros, nan, inf, total, width, first_nonfinite, bytes}, …] in graph
                          order; `bytes` is the length of the tensor's counts
    counts     of each tensor, in the header's order, packed (`onnx_trtcal.stats.packed_counts`)
    32 bytes   SHA-256 of all bytes before
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.data.shard import Shards
from onnx_trtcal.errors import CHECK_PATH, StatisticsError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.contradiction import contradiction
from onnx_trtcal.stats.header import check_header
from onnx_trtcal.stats.packed_counts import pack, packed_size, unpack
from onnx_trtcal.support.files import atomic_file
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx_trtcal.stats.histogram import Histogram

__all__ = [
    "dumps",
    "load_statistics",
    "loads",
    "loads_checkpoint",
    "save_checkpoint",
    "save_statistics",
]

MAGIC = b"\x89TCS\r\n\x1a\n"
_CHECKPOINT = b"\x89TCK\r\n\x1a\n"
_CALLED = {MAGIC: "statistics file", _CHECKPOINT: "checkpoint"}
VERSION = 1
_START = struct.Struct("<8sIQ")
_CHECKSUM = 32


def save_statistics(path: str | Path, statistics: Collection) -> None:
    """Writes a statistics file, whole or not at all; equal statistics give equal bytes.

        >>> from onnx_trtcal import Options, calibrate, load_statistics, save_statistics
        >>> options = Options(max_samples=16)
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", options)
        >>> save_statistics("digits_mlp.stats", calibration.collection)
        >>> load_statistics("digits_mlp.stats") == calibration.collection
        True

    Args:
        path: where to write.
        statistics: what `calibrate` collected (`Calibration.collection`) or `merge` added up.

    Raises:
        CalibrationError: when the file cannot be written.
    """
    _save(path, _parts(statistics, {"samples": statistics.samples}, MAGIC))


def load_statistics(path: str | Path) -> Collection:
    """Reads a statistics file, as `--save-stats`, `save_statistics` or `onnx-trtcal merge` wrote it.

        >>> from onnx_trtcal import Options, calibrate, load_statistics, save_statistics
        >>> options = Options(max_samples=16)
        >>> calibration = calibrate("models/digits_mlp.onnx", "models/digits_calib.npy", options)
        >>> save_statistics("digits_mlp.stats", calibration.collection)
        >>> len(load_statistics("digits_mlp.stats").samples)
        16

    Raises:
        StatisticsError: when the file cannot be read, or is damaged, foreign or of a newer version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StatisticsError(
            f"cannot read the statistics file: {error.strerror or error}", where=str(path), fix=CHECK_PATH
        ) from error
    return loads(data, str(path))


def dumps(collection: Collection) -> bytes:
    """The bytes of a statistics file: equal collections give equal bytes."""
    return b"".join(_parts(collection, {"samples": collection.samples}, MAGIC))


def save_checkpoint(path: Path, collection: Collection, fields: Mapping[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all: everything that a statistics file holds but the samples.

    Args:
        path: where to write.
        collection: what was counted.
        fields: what else stands in the header, of types that JSON has.

    Raises:
        CalibrationError: when the file cannot be written.
    """
    _save(path, _parts(collection, {"samples": [], **fields}, _CHECKPOINT))


def _save(path: str | Path, parts: Iterator[bytes]) -> None:
    with atomic_file(path) as file:
        file.writelines(parts)


def _parts(collection: Collection, fields: Mapping[str, Any], magic: bytes) -> Iterator[bytes]:
    """The bytes of a file, one after the other: those of thousands of tensors are too many to hold."""
    header = {
        **fields,
        "model": collection.model,
        "rule": collection.rule,
        "options": collection.options,
        "tensors": [
            {
                "name": name,
                "amax": histogram.amax,
                "zeros": histogram.zeros,
                "nan": histogram.nan,
                "inf": histogram.inf,
                "total": histogram.total,
                "width": histogram.width,
                "first_nonfinite": collection.first_nonfinite.get(name),
                "bytes": packed_size(histogram.counts),
            }
            for name, histogram in collection.histograms.items()
        ],
    }
    if collection.shards:
        parts = collection.shards
        header["shards"] = {"of": parts.of, "data": parts.data, "have": sorted(parts.have)}
    if collection.shapes:
        header["shapes"] = {
            name: [list(seen.smallest), list(seen.largest), seen.item_axis]
            for name, seen in collection.shapes.items()
        }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    checksum = hashlib.sha256()
    start = _START.pack(magic, VERSION, len(text)) + text
    packed = (pack(histogram.counts) for histogram in collection.histograms.values())
    for part in itertools.chain((start,), packed):
        checksum.update(part)
        yield part
    yield checksum.digest()


def loads(data: bytes, name: str = "") -> Collection:
    """A collection from the bytes of a statistics file.

    Args:
        data: the bytes.
        name: where they come from, for error messages.

    Raises:
        StatisticsError: when they are damaged, foreign or of a newer version.
    """
    if data.startswith(_CHECKPOINT):
        raise StatisticsError(
            "this is the checkpoint of a run that has not ended",
            where=name,
            fix="give the command of that run again, with --save-stats: it resumes from there",
        )
    return _loads(data, name, MAGIC)[1]


def loads_checkpoint(data: bytes, name: str) -> tuple[dict[str, Any], Collection]:
    """The header of a checkpoint, and its collection without the samples.

    Args:
        data: the bytes.
        name: where they come from, for error messages.

    Raises:
        StatisticsError: when they are damaged, foreign or of a newer version.
    """
    return _loads(data, name, _CHECKPOINT)


def _loads(data: bytes, name: str, magic: bytes) -> tuple[dict[str, Any], Collection]:
    if not data.startswith(magic) or len(data) < _START.size + _CHECKSUM:
        raise _unusable(
            f"this is not a {_CALLED[magic]}" if data[:4] != magic[:4] else "the file is damaged", name
        )
    _, version, length = _START.unpack_from(data)
    if version > VERSION:
        raise StatisticsError(
            f"the {_CALLED[magic]} has layout {version}; this onnx_trtcal reads up to {VERSION}",
            where=name,
            fix="update onnx_trtcal",
        )
    body, checksum = memoryview(data)[:-_CHECKSUM], data[-_CHECKSUM:]
    if hashlib.sha256(body).digest() != checksum:
        raise _unusable(f"the {_CALLED[magic]} is damaged or cut short: its checksum does not match", name)
    try:
        header = parse_json(bytes(body[_START.size : _START.size + length]))
        check_header(header)
        return header, _collection(header, body[_START.size + length :])
    except (ValueError, MemoryError) as error:
        raise _unusable(f"the {_CALLED[magic]} contradicts itself: {error}", name) from error


def _unusable(what: str, name: str) -> StatisticsError:
    return StatisticsError(
        what, where=name, fix="use a file that --save-stats or merge wrote, or collect again"
    )


def _collection(header: dict[str, Any], counts: memoryview) -> Collection:
    tensors, parts = header["tensors"], header.get("shards")
    collection = Collection(
        [tensor["name"] for tensor in tensors],
        model=header["model"],
        rule=header["rule"],
        options=header["options"],
        shards=Shards(parts["of"], parts["data"], frozenset(parts["have"])) if parts else None,
    )
    collection.restore_samples((name, digest) for name, digest in header["samples"])
    for name, (smallest, largest, axis) in sorted(header.get("shapes", {}).items()):
        collection.shapes[name] = SeenShapes(tuple(smallest), tuple(largest), axis)
    begin = 0
    for tensor in tensors:
        histogram = collection.histograms[tensor["name"]]
        _restore(histogram, tensor, counts[begin : begin + tensor["bytes"]])
        begin += tensor["bytes"]
        if tensor["first_nonfinite"] is not None:
            collection.first_nonfinite[tensor["name"]] = tensor["first_nonfinite"]
        elif histogram.nan or histogram.inf:
            raise ValueError(f"tensor {tensor['name']!r} has NaN or Inf of no sample")
    if begin != len(counts):
        raise ValueError(f"{len(counts)} bytes of counts where {begin} are announced")
    return collection


def _restore(histogram: Histogram, tensor: dict[str, Any], counts: memoryview) -> None:
    histogram.amax = float(tensor["amax"])
    histogram.width = float(tensor["width"])
    for field in ("zeros", "nan", "inf", "total"):
        setattr(histogram, field, int(tensor[field]))
    histogram.counts = unpack(counts, histogram.counts.size)
    if fault := contradiction(histogram):
        raise ValueError(f"tensor {tensor['name']!r} {fault}")
