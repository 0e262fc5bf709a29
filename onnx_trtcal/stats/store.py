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
                 shapes   {input: [smallest, largest, item axis or null]} of one sample; missing where not known
                 tensors  [{name, amax, zeros, nan, inf, total, width, first_nonfinite, bytes}, …] in graph
                          order; `bytes` is the length of the tensor's counts
    counts     of each tensor, in the header's order, packed
    32 bytes   SHA-256 of all bytes before

Packed counts: the bins in groups of 64, each group with as many hexadecimal digits as its largest count has.
First those numbers of digits, four bits each (so a count stays below 16**15); then the lowest digits of all
groups that have one, then the second lowest of those that have two, and so on; two digits to a byte, the
first in the low half. Empty groups cost four bits. No general compressor is used: zlib's output differs
between its implementations.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.errors import OptionError, StatisticsError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.header import check_header
from onnx_trtcal.support.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_trtcal.stats.histogram import Histogram

__all__ = ["dumps", "load_statistics", "loads", "merge", "save_statistics"]

MAGIC = b"\x89TCS\r\n\x1a\n"
VERSION = 1
_START = struct.Struct("<8sIQ")
_CHECKSUM = 32
_GROUP = 64
_MOST_DIGITS = 15


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
    atomic_write(path, dumps(statistics))


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
            f"cannot read the statistics file: {error.strerror or error}", where=str(path)
        ) from error
    return loads(data, str(path))


def merge(paths: Sequence[str | Path]) -> Collection:
    """Adds up the statistics of shards collected apart: what one run over all samples would have counted.

    The order of the files does not matter; two collections are in memory at a time, however many files there are.

        >>> import numpy as np
        >>> from onnx_trtcal import calibrate, merge, save_statistics
        >>> samples = np.load("models/digits_calib.npy")
        >>> for name, shard in (("a.stats", samples[:8]), ("b.stats", samples[8:20])):
        ...     save_statistics(name, calibrate("models/digits_mlp.onnx", shard).collection)
        >>> len(merge(["a.stats", "b.stats"]).samples)
        20

    Args:
        paths: one statistics file or more.

    Raises:
        OptionError: when no file is given.
        StatisticsError: when a file cannot be read, when two do not belong together (another model, range
            rule, preprocessing …), or when two count the same content; both files are named.
    """
    if not paths:
        raise OptionError("there are no statistics to merge", fix="give one statistics file or more")
    total = load_statistics(paths[0])
    counted = dict.fromkeys((content for _, content in total.samples), paths[0])
    for path in paths[1:]:
        shard = load_statistics(path)
        contents = [content for _, content in shard.samples]
        first = next((counted[content] for content in contents if content in counted), paths[0])
        try:
            total.merge(shard)
        except StatisticsError as error:
            raise StatisticsError(error.what, where=f"{first} and {path}", fix=error.fix) from error
        counted.update(dict.fromkeys(contents, path))
    return total


def dumps(collection: Collection) -> bytes:
    """The bytes of a statistics file: equal collections give equal bytes."""
    packed = [_pack(histogram.counts) for histogram in collection.histograms.values()]
    header = {
        "model": collection.model,
        "rule": collection.rule,
        "options": collection.options,
        "samples": collection.samples,
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
                "bytes": len(counts),
            }
            for (name, histogram), counts in zip(collection.histograms.items(), packed, strict=True)
        ],
    }
    if collection.shapes:
        header["shapes"] = {
            name: [list(seen.smallest), list(seen.largest), seen.item_axis]
            for name, seen in collection.shapes.items()
        }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    body = b"".join([_START.pack(MAGIC, VERSION, len(text)), text, *packed])
    return body + hashlib.sha256(body).digest()


def loads(data: bytes, name: str = "") -> Collection:
    """A collection from the bytes of a statistics file.

    Args:
        data: the bytes.
        name: where they come from, for error messages.

    Raises:
        StatisticsError: when they are damaged, foreign or of a newer version.
    """
    if not data.startswith(MAGIC) or len(data) < _START.size + _CHECKSUM:
        raise _unusable(
            "this is not a statistics file" if data[:4] != MAGIC[:4] else "the file is damaged", name
        )
    _, version, length = _START.unpack_from(data)
    if version > VERSION:
        raise StatisticsError(
            f"the statistics file has layout {version}; this onnx_trtcal reads up to {VERSION}",
            where=name,
            fix="update onnx_trtcal",
        )
    body, checksum = memoryview(data)[:-_CHECKSUM], data[-_CHECKSUM:]
    if hashlib.sha256(body).digest() != checksum:
        raise _unusable("the statistics file is damaged or cut short: its checksum does not match", name)
    try:
        header = json.loads(bytes(body[_START.size : _START.size + length]))
        check_header(header)
        return _collection(header, body[_START.size + length :])
    except (ValueError, RecursionError, MemoryError) as error:
        raise _unusable(f"the statistics file contradicts itself: {error}", name) from error


def _unusable(what: str, name: str) -> StatisticsError:
    return StatisticsError(
        what, where=name, fix="use a file that --save-stats or merge wrote, or collect again"
    )


def _collection(header: dict[str, Any], counts: memoryview) -> Collection:
    tensors = header["tensors"]
    collection = Collection(
        [tensor["name"] for tensor in tensors],
        model=header["model"],
        rule=header["rule"],
        options=header["options"],
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
    if begin != len(counts):
        raise ValueError(f"{len(counts)} bytes of counts where {begin} are announced")
    return collection


def _restore(histogram: Histogram, tensor: dict[str, Any], counts: memoryview) -> None:
    histogram.amax = float(tensor["amax"])
    histogram.width = float(tensor["width"])
    for field in ("zeros", "nan", "inf", "total"):
        setattr(histogram, field, int(tensor[field]))
    histogram.counts = _unpack(counts, histogram.counts.size)
    if int(histogram.counts.sum()) + histogram.zeros != histogram.total:
        raise ValueError(f"tensor {tensor['name']!r} does not have as many values as it says")


def _pack(counts: np.ndarray) -> bytes:
    groups = counts.reshape(-1, _GROUP)
    largest = groups.max(axis=1)
    digits = np.zeros(len(groups), np.uint8)
    for digit in range(_MOST_DIGITS):
        digits += (largest >> (4 * digit)) > 0
    parts = [_pair(digits)]
    for digit in range(int(digits.max())):
        groups, digits = groups[digits > digit], digits[digits > digit]
        parts.append(_pair(((groups >> (4 * digit)) & 15).astype(np.uint8).ravel()))
    return b"".join(parts)


def _unpack(data: memoryview, bins: int) -> np.ndarray:
    table = bins // _GROUP // 2
    digits = _unpair(np.frombuffer(data[:table], np.uint8))
    groups = np.zeros((len(digits), _GROUP), np.int64)
    begin = table
    for digit in range(int(digits.max())):
        here = digits > digit
        size = int(here.sum()) * _GROUP // 2
        values = _unpair(np.frombuffer(data[begin : begin + size], np.uint8)).reshape(-1, _GROUP)
        groups[here] |= values.astype(np.int64) << (4 * digit)
        begin += size
    if begin != len(data) or groups.size != bins:
        raise ValueError(f"{len(data)} bytes of counts where {begin} are used")
    return groups.ravel()


def _pair(digits: np.ndarray) -> bytes:
    packed: np.ndarray = digits[0::2] | digits[1::2] << 4
    return packed.tobytes()


def _unpair(pairs: np.ndarray) -> np.ndarray:
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()
