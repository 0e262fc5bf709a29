"""How much memory a batch of activations takes, and how to stay under a limit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Chunking", "available_memory", "chunk"]


@dataclass(frozen=True)
class Chunking:
    """How to cut the work up so that the activations fit.

    Attributes:
        batch_size: samples per run.
        parts: observed tensors per pass over the data.
        reason: what was cut and why, for the user; empty when nothing was.
    """

    batch_size: int
    parts: tuple[tuple[str, ...], ...]
    reason: str = ""


def chunk(
    sizes: Mapping[str, int], samples: int, batch_size: int, limit: int | None, batch_is_fixed: bool
) -> Chunking:
    """The cheapest cut under which the observed tensors of one batch take at most `limit` bytes.

    A smaller batch costs next to nothing, another pass costs a whole run of the model: the batch shrinks
    first, and only when one sample is too much does the work split into passes.

    Args:
        sizes: bytes of each observed tensor, in graph order, for a run of `samples` samples.
        samples: how many samples those sizes are for.
        batch_size: samples per run if memory allows.
        limit: bytes; None for no limit.
        batch_is_fixed: whether the model dictates the batch size.
    """
    everything = tuple(sizes)
    whole = sum(sizes.values())
    if limit is None or whole * batch_size <= limit * samples:
        return Chunking(batch_size, (everything,))
    smaller = limit * samples // max(whole, 1)
    if smaller >= 1 and not batch_is_fixed:
        return Chunking(
            smaller,
            (everything,),
            f"batches of {smaller} instead of {batch_size}, so that the activations fit into {_text(limit)}",
        )
    least = batch_size if batch_is_fixed else 1
    parts = _split(sizes, limit * samples // least)
    return Chunking(
        least,
        parts,
        f"{len(parts)} passes over the data with batches of {least}: the activations of one batch take "
        f"{_text(whole * least // samples)}, more than {_text(limit)}",
    )


def _split(sizes: Mapping[str, int], limit: int) -> tuple[tuple[str, ...], ...]:
    parts: list[list[str]] = []
    used = 0
    for name, size in sizes.items():
        if not parts or used + size > limit:
            parts.append([])
            used = 0
        parts[-1].append(name)
        used += size
    return tuple(map(tuple, parts))


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _text(size: int) -> str:
    for unit, bytes_of in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_of:
            return f"{size / bytes_of:.1f} {unit}"
    return f"{size} bytes"
