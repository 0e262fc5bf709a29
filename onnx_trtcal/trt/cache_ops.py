"""What can be done with finished calibration caches: compare, merge, re-head and rename them.

Pure functions from caches to caches; what is written always has TensorRT's own line ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from onnx_trtcal.errors import CacheError, OptionError, did_you_mean
from onnx_trtcal.trt.cache import Cache, header_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "PREFERENCES",
    "Conflict",
    "Difference",
    "Differences",
    "Merged",
    "Preference",
    "Renamed",
    "diff_caches",
    "dynamic_range",
    "merge_caches",
    "rename_tensors",
    "set_cache_version",
]

Preference = Literal["first", "last", "larger", "smaller"]
PREFERENCES: tuple[Preference, ...] = get_args(Preference)


@dataclass(frozen=True)
class Difference:
    """A tensor that both caches name: its two scales, and the second as a multiple of the first."""

    name: str
    first: float
    second: float
    ratio: float


@dataclass(frozen=True)
class Differences:
    """Two caches side by side.

    Attributes:
        common: tensors in both, the ones that differ most (by the factor between them) first.
        only_first, only_second: names that the other cache lacks, in file order.
        headers: the two first lines.
    """

    common: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    headers: tuple[str, str]

    @property
    def changed(self) -> tuple[Difference, ...]:
        """The common tensors whose scales are not the same."""
        return tuple(item for item in self.common if item.first != item.second)

    @property
    def same(self) -> bool:
        """Whether header, names and scales are the same, whatever the order."""
        return not (self.changed or self.only_first or self.only_second) and len(set(self.headers)) == 1


@dataclass(frozen=True)
class Conflict:
    """A tensor whose caches disagree: its scale in each (None where it has no entry), and the one kept."""

    name: str
    scales: tuple[float | None, ...]
    kept: float


@dataclass(frozen=True)
class Merged:
    """A merged cache, and where its sources disagreed."""

    cache: Cache
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True)
class Renamed:
    """A cache with new names: how many entries changed theirs, and the old names it does not have."""

    cache: Cache
    count: int
    unknown: tuple[str, ...]


def dynamic_range(scale: float) -> float:
    """The largest magnitude that INT8 represents at this scale, in the tensor's own units: 127 * scale."""
    return 127.0 * scale


def diff_caches(first: Cache, second: Cache) -> Differences:
    """Compares two caches tensor by tensor.

    >>> from onnx_trtcal import Cache, diff_caches
    >>> first = Cache("TRT-100300-EntropyCalibration2", {"input": 1.0, "output": 2.0})
    >>> second = Cache("TRT-100300-EntropyCalibration2", {"input": 1.0, "output": 3.0})
    >>> [(item.name, item.ratio) for item in diff_caches(first, second).changed]
    [('output', 1.5)]
    """
    common = [
        Difference(name, scale, second.scales[name], _ratio(scale, second.scales[name]))
        for name, scale in first.scales.items()
        if name in second.scales
    ]
    common.sort(key=lambda item: -_factor(item.ratio))
    return Differences(
        common=tuple(common),
        only_first=tuple(name for name in first.scales if name not in second.scales),
        only_second=tuple(name for name in second.scales if name not in first.scales),
        headers=(first.header, second.header),
    )


def merge_caches(caches: Sequence[Cache], prefer: Preference = "first") -> Merged:
    """One cache with the entries of all: in the order of the first, then what each later one adds.

        >>> from onnx_trtcal import Cache, merge_caches
        >>> first = Cache("TRT-100300-EntropyCalibration2", {"input": 1.0, "output": 2.0})
        >>> second = Cache("TRT-100300-EntropyCalibration2", {"output": 3.0, "extra": 4.0})
        >>> merge_caches([first, second], prefer="larger").cache.scales
        {'input': 1.0, 'output': 3.0, 'extra': 4.0}

    Args:
        caches: one or more.
        prefer: which scale stays where they disagree: that of the `first` or the `last` cache that names the
            tensor, the `larger` or the `smaller`. The header is the last cache's for `last`, else the
            first's.

    Raises:
        OptionError: for another preference, or when no cache is given.
    """
    if prefer not in PREFERENCES:
        raise OptionError(
            f"{prefer!r} is not a preference",
            fix=did_you_mean(prefer, PREFERENCES) or f"take one of {', '.join(PREFERENCES)}",
        )
    if not caches:
        raise OptionError("there is no cache to merge", fix="give two or more")
    names = dict.fromkeys(name for cache in caches for name in cache.scales)
    scales: dict[str, float] = {}
    conflicts: list[Conflict] = []
    for name in names:
        found = [cache.scales.get(name) for cache in caches]
        known = [scale for scale in found if scale is not None]
        scales[name] = _preferred(known, prefer)
        if len(set(known)) > 1:
            conflicts.append(Conflict(name, tuple(found), scales[name]))
    header = caches[-1 if prefer == "last" else 0].header
    return Merged(Cache(header, scales), tuple(conflicts))


def set_cache_version(cache: Cache, trt_version: str | None = None, algorithm: str | None = None) -> Cache:
    """The same scales under the header of another TensorRT version, another algorithm, or both.

        >>> from onnx_trtcal import Cache, set_cache_version
        >>> set_cache_version(Cache("TRT-8601-EntropyCalibration2", {"input": 1.0}), "10.3").header
        'TRT-100300-EntropyCalibration2'

    Args:
        cache: the scales.
        trt_version: 5.1 to 10.16, as `10.3`, `10.3.0` or `100300`; None keeps the cache's own.
        algorithm: a calibration algorithm of TensorRT; None keeps the cache's own, and a cache of the headerless
            legacy format becomes EntropyCalibration2.

    Raises:
        OptionError: for a version or algorithm that no cache can be written for, or when neither is given.
    """
    if trt_version is None and algorithm is None:
        raise OptionError(
            "neither a version nor an algorithm is given", fix="give --trt-version, --algorithm or both"
        )
    if trt_version is None and not cache.version:
        raise OptionError("the cache's legacy header names no version", fix="give --trt-version too")
    kept = cache.algorithm or "EntropyCalibration2"
    return Cache(header_for(trt_version or cache.version, algorithm or kept), cache.scales)


def rename_tensors(cache: Cache, names: Mapping[str, str]) -> Renamed:
    """The same entries, in the same order, under new names; all at once, so that two may swap theirs.

        >>> from onnx_trtcal import Cache, rename_tensors
        >>> cache = Cache("TRT-100300-EntropyCalibration2", {"input": 1.0, "output": 2.0})
        >>> rename_tensors(cache, {"input": "image"}).cache.scales
        {'image': 1.0, 'output': 2.0}

    Args:
        cache: the entries.
        names: old name to new name; entries that it lacks keep theirs.

    Raises:
        CacheError: when two entries would end with one name.
    """
    scales: dict[str, float] = {}
    came_from: dict[str, str] = {}
    for old, scale in cache.scales.items():
        new = names.get(old, old)
        if new in scales:
            raise CacheError(
                f"tensors {came_from[new]!r} and {old!r} would both be named {new!r}",
                fix="give each old name a new name of its own",
            )
        scales[new] = scale
        came_from[new] = old
    count = sum(new != old for new, old in came_from.items())
    unknown = tuple(old for old in names if old not in cache.scales)
    return Renamed(replace(cache, scales=scales, newline="\n"), count, unknown)


def _ratio(first: float, second: float) -> float:
    if first == second:
        return 1.0
    return second / first if first else math.inf


def _factor(ratio: float) -> float:
    """How far a ratio is from 1, the same for 2 and for 1/2."""
    return max(ratio, 1 / ratio) if ratio else math.inf


def _preferred(scales: Sequence[float], prefer: Preference) -> float:
    if prefer in ("first", "last"):
        return scales[0 if prefer == "first" else -1]
    return max(scales) if prefer == "larger" else min(scales)
