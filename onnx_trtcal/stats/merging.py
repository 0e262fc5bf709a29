"""Statistics files added up: the shards of a run, and runs over different data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_trtcal.errors import OptionError, StatisticsError, listed
from onnx_trtcal.stats.store import load_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx_trtcal.data.shard import Shards
    from onnx_trtcal.stats.collection import Collection

__all__ = ["merge"]


def merge(paths: Sequence[str | Path], *, partial: bool = False) -> Collection:
    """Adds up the statistics of shards collected apart: what one run over all samples would have counted.

    The order of the files does not matter; two collections are in memory at a time, however many files there are, and
    one more for each run whose shards are among them.

        >>> import numpy as np
        >>> from onnx_trtcal import collect, merge, save_statistics
        >>> for shard in ("1/2", "2/2"):
        ...     statistics = collect("models/digits_mlp.onnx", "models/digits_calib.npy", shard=shard)
        ...     save_statistics(f"{shard[0]}.stats", statistics)
        >>> whole = collect("models/digits_mlp.onnx", "models/digits_calib.npy")
        >>> merge(["1.stats", "2.stats"]) == whole
        True

    Args:
        paths: one statistics file or more.
        partial: allow some of the shards of a run to be missing, which another merge adds; the files must be of that
            run alone.

    Raises:
        OptionError: when no file is given.
        StatisticsError: when a file cannot be read, when two do not belong together (another model, range
            rule, preprocessing …), when two count the same content or hold the same shard, both files being named, or
            when a shard is missing.
    """
    if not paths:
        raise OptionError("there are no statistics to merge", fix="give one statistics file or more")
    runs: dict[tuple[int, str] | None, _Sum] = {}
    for path in paths:
        collection = load_statistics(path)
        shards = collection.shards
        run = (shards.of, shards.data) if shards else None
        if run in runs:
            runs[run].add(collection, shards, path)
        else:
            runs[run] = _Sum(collection, shards, [path])
    if lacking := [each for each in runs.values() if each.total.shards]:
        _check_missing(lacking, partial=partial and len(runs) == 1)
    first, *others = runs.values()
    for other in others:
        first.add(other.total, None, other.files[0])
    return first.total


@dataclass
class _Sum:
    """The statistics of some files added up.

    Attributes:
        total: their sum.
        seen: the shards among them; None where they are not shards.
        files: in the order in which they were added.
    """

    total: Collection
    seen: Shards | None
    files: list[str | Path] = field(default_factory=list)

    def add(self, collection: Collection, shards: Shards | None, path: str | Path) -> None:
        """Adds those of one more file.

        Raises:
            StatisticsError: naming this file, and the one among those before that it does not go with.
        """
        try:
            if self.seen and shards:
                self.seen = self.seen.joined(shards)
            self.total.merge(collection)
        except StatisticsError as error:
            raise StatisticsError(
                error.what, where=f"{self._opponent(collection)} and {path}", fix=error.fix
            ) from error
        self.files.append(path)

    def _opponent(self, collection: Collection) -> str | Path:
        """The first file that does not go with a collection by itself."""
        for file in self.files:
            alone = load_statistics(file)
            try:
                alone.merge(collection)
            except StatisticsError:
                return file
        return self.files[0]


def _check_missing(sums: Sequence[_Sum], *, partial: bool) -> None:
    """Refuses sums that lack shards, unless the one there is may be partial."""
    if partial:
        return
    if len(sums) > 1:
        files = [str(each.files[0]) for each in sums]
        raise StatisticsError(
            f"the shards are of {len(sums)} different runs, and none of these is complete: they were split into other "
            "numbers, or the files of the data or --max-samples were not the same",
            where=listed(files),
            fix="collect all shards over the same data, split into the same number",
        )
    shards = sums[0].total.shards
    if shards is not None:
        missing = shards.missing
        raise StatisticsError(
            f"{shards.named(missing)} {'is' if len(missing) == 1 else 'are'} missing: the data was split into "
            f"{shards.of}, and {len(shards.have)} of these are here",
            fix=f"collect what is missing, with --shard {missing[0]}/{shards.of}, or merge what there is with "
            "--partial, for another merge to complete",
        )
