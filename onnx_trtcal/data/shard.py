"""A shard: every Nth sample of the data, by a rule that is the same on every machine.

Sample `p`, counted from 0 in the order of the data (see `onnx_trtcal.data.paths`), is in shard `p % N + 1` of N. A row
of a stack is a sample, as is a row of a file of rows. So shards are of equal size to within one sample, whatever the
data is sorted by, and which samples are in one depends on the data alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import OptionError, StatisticsError, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MOST_SHARDS", "Shard", "Sharded", "Shards", "data_digest", "shard_of"]

MOST_SHARDS = 1_000_000
_FORM = re.compile(r"(\d+)/(\d+)", re.ASCII)
_SHOWN = 6
_NEVER = 1 << 62  # no data has so many samples


@dataclass(frozen=True)
class Shard:
    """One of so many equal parts of the data.

        >>> from onnx_trtcal import Shard
        >>> str(Shard(3, 8)), Shard.parse("3/8") == Shard(3, 8)
        ('3/8', True)

    Attributes:
        index: which one, from 1 to `of`.
        of: how many there are.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in (self.index, self.of)):
            raise OptionError(f"a shard is two whole numbers, and this is {self.index!r} of {self.of!r}")
        if not 1 <= self.of <= MOST_SHARDS:
            raise OptionError(f"shard {self} is one of {self.of}, wanted 1 to {MOST_SHARDS:,}")
        if not 1 <= self.index <= self.of:
            fix = f"give 1/{self.of} to {self.of}/{self.of}"
            if self.index == 0:
                fix += (
                    "; where the scheduler counts from 0, as in --shard $((SLURM_ARRAY_TASK_ID + 1))/N, add 1"
                )
            raise OptionError(f"there is no shard {self}: shards are numbered from 1", fix=fix)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `3/8` names.

        Raises:
            OptionError: when the text is not of this form, or there is no such shard.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None or len(text) > 20:
            raise OptionError(
                f"{text[:40]!r} is not a shard", fix="write I/N, such as 3/8: the third of eight"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def positions(self) -> range:
        """The positions of its samples in the data, however many there are."""
        return range(self.index - 1, _NEVER, self.of)


@dataclass(frozen=True)
class Sharded:
    """Data of which only one shard is read.

    Attributes:
        data: whatever `onnx_trtcal.data.sources.open_source` takes.
        shard: which of its samples.
    """

    data: Any
    shard: Shard


@dataclass(frozen=True)
class Shards:
    """Which shards of a run statistics hold, as long as that is not all of them.

    Attributes:
        of: how many the data was split into.
        data: hash of the names in the data (see `data_digest`); shards of one run have the same.
        have: the numbers of those at hand, from 1.
    """

    of: int
    data: str
    have: frozenset[int]

    @property
    def missing(self) -> list[int]:
        """The numbers of those that are not at hand."""
        return [index for index in range(1, self.of + 1) if index not in self.have]

    def is_of(self, other: Shards) -> bool:
        """Whether both are of one run."""
        return (self.of, self.data) == (other.of, other.data)

    def joined(self, other: Shards) -> Shards:
        """Those of both.

        Raises:
            StatisticsError: when they are of different runs, or both hold one.
        """
        if not self.is_of(other):
            how = f"{self.of} shards against {other.of}"
            if self.of == other.of:
                how = "the files of the data, or --max-samples, were not the same"
            raise StatisticsError(
                f"the shards are of different runs: {how}",
                fix="collect all shards over the same data, split into the same number",
            )
        if double := sorted(self.have & other.have):
            raise StatisticsError(f"both hold {self.named(double)}", fix="give each shard once")
        return replace(self, have=self.have | other.have)

    def named(self, indices: Iterable[int]) -> str:
        """Some of them in words: `shard 3/8`, `shards 3/8 and 5/8`."""
        words = [f"{index}/{self.of}" for index in indices]
        if len(words) == 1:
            return f"shard {words[0]}"
        if len(words) > _SHOWN:
            return f"shards {listed(words, _SHOWN)}"
        return f"shards {', '.join(words[:-1])} and {words[-1]}"


def shard_of(shard: Shard | str | None) -> Shard | None:
    """A shard as a caller gives it: one, or `3/8`.

    Raises:
        OptionError: when it is neither.
    """
    if shard is None or isinstance(shard, Shard):
        return shard
    if not isinstance(shard, str):
        raise OptionError(f"shard is {shard!r}", fix='give Shard(3, 8) or "3/8"')
    return Shard.parse(shard)


def data_digest(names: Iterable[str], max_samples: int | None) -> str:
    """What shards of one run have in common: a hash of the names in the data, in their order.

    Args:
        names: of its files; none of data whose names are only known once it is read.
        max_samples: how much of it is used.
    """
    digest = hashlib.sha256(f"{max_samples}\n".encode())
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
