"""What changes a model on data needs data that it can read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onnx_trtcal.data.iterables import AGAIN
from onnx_trtcal.data.transform import Transformed
from onnx_trtcal.errors import DataError, OptionError

if TYPE_CHECKING:
    from onnx_trtcal.scale_source import SourceKind

__all__ = ["check_rereadable"]


def check_rereadable(source: Any, kind: SourceKind, option: str, why: str, reads: str) -> None:
    """Refuses a source that is not data, or that gives its data only once.

    Args:
        source: where the scales come from.
        kind: what it is.
        option: what needs the data, by its name.
        why: what the option does and why such a source is none for it, for the message.
        reads: how often it reads the data, for the message.

    Raises:
        OptionError: the scales come from statistics, a cache or a calibration.
        DataError: the data can be read only once.
    """
    if kind != "data":
        raise OptionError(
            f"{option} {why}",
            fix=f"give data as the source (and the same --method), or leave --{option} out",
        )
    inner = source.data if isinstance(source, Transformed) else source
    if isinstance(inner, Iterator):
        raise DataError(f"{option} reads the data {reads}, and an iterator gives it only once", fix=AGAIN)
