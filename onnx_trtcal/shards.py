"""Statistics of the shards of one data set, collected apart, added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats import store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_trtcal.stats.collection import Collection

__all__ = ["merge_files"]


def merge_files(paths: Sequence[str | Path]) -> Collection:
    """What one run over the samples of all files would have counted, whatever their order.

    Two collections are in memory at a time, however many files there are.

    Args:
        paths: one statistics file or more.

    Raises:
        StatisticsError: when a file cannot be read, when two do not belong together (another model, range
            rule, preprocessing …), or when two count the same content; both files are named.
    """
    total = store.load(paths[0])
    counted = dict.fromkeys((content for _, content in total.samples), paths[0])
    for path in paths[1:]:
        shard = store.load(path)
        contents = [content for _, content in shard.samples]
        first = next((counted[content] for content in contents if content in counted), paths[0])
        try:
            total.merge(shard)
        except StatisticsError as error:
            raise StatisticsError(error.what, where=f"{first} and {path}", fix=error.fix) from error
        counted.update(dict.fromkeys(contents, path))
    return total
