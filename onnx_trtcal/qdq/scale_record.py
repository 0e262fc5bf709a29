"""The scales that a Q/DQ model was made from, recorded in its metadata.

A Q/DQ model holds only the scales of tensors that carry a pair. A cache has many more: those of tensors inside
a kernel, of graph outputs, and of Concat branches that share a scale. The record keeps all of them, so that
nothing is lost on the way back to a cache. It also states the scales of the pairs, and is believed only as long
as the model's pairs still have them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.errors import ModelError
from onnx_trtcal.support.parsed_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RECORD_KEY", "Record", "dump_record", "load_record"]

RECORD_KEY = "onnx_trtcal.scales"


@dataclass(frozen=True)
class Record:
    """All scales of a calibration.

    Attributes:
        scales: tensor -> scale, an exact float32 value, in the order of the cache.
        pairs: tensor with a pair -> the scale written in its pair.
        unseen: the tensors whose scale is made up, because no value of theirs was ever seen.
    """

    scales: Mapping[str, float]
    pairs: Mapping[str, float]
    unseen: tuple[str, ...] = ()


def dump_record(record: Record) -> str:
    """The record as JSON; scales are the bits of a float32 in hexadecimal, as in a cache."""
    unseen = {"unseen": list(record.unseen)} if record.unseen else {}
    return json.dumps(
        {
            "scales": {name: _bits(scale) for name, scale in record.scales.items()},
            "pairs": {name: _bits(scale) for name, scale in record.pairs.items()},
            **unseen,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )


def load_record(text: str) -> Record:
    """Reads what `dump_record` wrote.

    Raises:
        ModelError: the text is damaged.
    """
    try:
        read = parse_json(text)
        parts = [{str(k): _scale(v) for k, v in read[key].items()} for key in ("scales", "pairs")]
        unseen = tuple(map(str, read.get("unseen", ())))
    except (ValueError, KeyError, AttributeError, TypeError, struct.error) as error:
        raise ModelError(
            "the model's record of its calibration is damaged",
            where=f"metadata {RECORD_KEY!r}",
            fix="remove this metadata entry; the scales of the Q/DQ nodes are then used alone",
        ) from error
    return Record(parts[0], parts[1], unseen)


def _bits(scale: float) -> str:
    return struct.pack(">f", scale).hex()


def _scale(text: str) -> float:
    value: float = struct.unpack(">f", bytes.fromhex(text))[0]
    return value
