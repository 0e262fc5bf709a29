"""Sites: sets of channels whose factors are decided together, with the layers that read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.improve.equalize.channels import UNSCALED
from onnx_trtcal.improve.equalize.roles import Inserted, Maker
from onnx_trtcal.improve.equalize.ties import joined

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from onnx_trtcal.improve.equalize.channels import Channels
    from onnx_trtcal.improve.equalize.roles import Reader

__all__ = ["Site", "Sites", "find_sites"]


@dataclass(frozen=True, eq=False)
class Site:
    """All channels of what one op makes, or of several where an Add ties them.

    Attributes:
        tensors: what makes them writes; the first names the site.
        labels: the channels, by the smallest number that each has; sorted.
        readers: the INT8 layers that read some of them.
        inserts: whether a Mul is put into the graph for it.
    """

    tensors: tuple[str, ...]
    labels: np.ndarray
    readers: tuple[Reader, ...]
    inserts: bool

    @property
    def name(self) -> str:
        """The tensor that names it."""
        return self.tensors[0]


@dataclass(frozen=True, eq=False)
class Sites:
    """The sites of a graph, in graph order.

    Attributes:
        sites: those that an INT8 layer reads.
        labels: per channel number, the smallest number that must have the same factor.
        fixed: per channel number, whether its factor is 1.
    """

    sites: tuple[Site, ...]
    labels: np.ndarray
    fixed: np.ndarray


def find_sites(channels: Channels, quantized: Container[str]) -> Sites:
    """Groups the channels that are free to have factors into sites.

    Args:
        channels: the numbered channels of a graph.
        quantized: first outputs of the layers that run in INT8.
    """
    labels = channels.labels()
    fixed = channels.pinned(labels)
    pairs = []
    for maker in channels.makers:
        free = labels[maker.ids.reshape(-1)]
        free = free[~fixed[free]]
        pairs.append((free, np.broadcast_to(free[:1], free.shape)))
    site_of = joined(channels.count, pairs)[labels]
    members: dict[int, list[Maker]] = {}
    for maker in channels.makers:
        for key in _keys(maker.ids, labels, fixed, site_of):
            members.setdefault(key, []).append(maker)
    readers: dict[int, list[Reader]] = {}
    for reader in channels.readers:
        if reader.node.outputs[0].name in quantized:
            for key in _keys(reader.ids, labels, fixed, site_of):
                readers.setdefault(key, []).append(reader)
    free = np.flatnonzero(~fixed)
    found = []
    for key, makers in members.items():
        if key in readers:
            found.append(
                Site(
                    tensors=tuple(dict.fromkeys(_made(maker) for maker in makers)),
                    labels=np.unique(labels[free[site_of[free] == key]]),
                    readers=tuple(readers[key]),
                    inserts=any(isinstance(maker, Inserted) for maker in makers),
                )
            )
    return Sites(tuple(found), labels, fixed)


def _keys(ids: np.ndarray, labels: np.ndarray, fixed: np.ndarray, site_of: np.ndarray) -> Sequence[int]:
    numbers = labels[ids.reshape(-1)]
    return [int(key) for key in dict.fromkeys(site_of[numbers[~fixed[numbers]]].tolist()) if key != UNSCALED]


def _made(maker: Maker) -> str:
    if isinstance(maker, Inserted):
        return maker.tensor
    return str(maker.node.outputs[0].name)
