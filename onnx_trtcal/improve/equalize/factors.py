"""The factors of a site's channels, from how large the channels and the weights that read them are.

A dense layer has one weight scale per output channel over all its input channels, so that a factor moves error from
activations to weights: s = amax_x^a / amax_w^(1 - a) (Xiao et al., SmoothQuant, 2022, arXiv 2211.10438). The weights
of a depthwise layer have a scale for each channel, so that any factor is free: s = amax_x (Nagel et al., Data-Free
Quantization, 2019, arXiv 1906.04721, where the ranges of channels are evened out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.graph.view import kind
from onnx_trtcal.graph.weighted import WEIGHTED
from onnx_trtcal.improve.equalize.ties import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.improve.equalize.roles import Reader
    from onnx_trtcal.improve.equalize.sites import Site, Sites

__all__ = ["FactorMaker", "input_channels_first"]

# Channels that are smaller than this share of the largest are not drawn up to it all the way.
_SMALLEST = 2.0**-7


class FactorMaker:
    """Makes the factors of sites.

    Args:
        sites: the sites of a graph.
        ranges: tensor that a reader reads -> the magnitude of each of its channels.
        weights: reader -> the largest weight of each input channel; depthwise layers are left out.
        steps: factors are powers of 2 to the power of 1 / steps; of two, which change no digit, under 1.
    """

    def __init__(
        self,
        sites: Sites,
        ranges: Mapping[str, np.ndarray],
        weights: Mapping[Reader, np.ndarray],
        steps: int,
    ) -> None:
        self._sites = sites
        self._steps = steps
        count = len(sites.labels)
        self._range = np.zeros(count)
        self._weight = np.zeros(count)
        self.level: dict[Site, float] = {}
        seen: set[str] = set()
        for site in sites.sites:
            for reader in site.readers:
                amax = ranges.get(reader.tensor)
                if amax is None:
                    continue
                labels = sites.labels[reader.ids]
                if reader.tensor not in seen:
                    seen.add(reader.tensor)
                    np.maximum.at(self._range, labels, amax)
                largest = weights.get(reader)
                if largest is not None:
                    np.maximum.at(self._weight, labels, largest / (largest.max(initial=0.0) or 1.0))
        self._set_levels()

    def _set_levels(self) -> None:
        """What the largest channel of each site is to become: sites that one tensor holds get one level.

        That is the largest magnitude among them, or among the channels of theirs whose factors are fixed.
        """
        sites, labels = self._sites.sites, self._sites.labels
        at = np.full(len(labels), -1)
        for index, site in enumerate(sites):
            at[site.labels] = index
        pairs, fixed = [], dict.fromkeys(range(len(sites)), 0.0)
        for site in sites:
            for reader in site.readers:
                numbers = labels[reader.ids]
                inside = np.unique(at[numbers[at[numbers] >= 0]])
                pairs.append((inside[:-1], inside[1:]))
                outside = self._range[numbers[at[numbers] < 0]].max(initial=0.0)
                for index in inside:
                    fixed[int(index)] = max(fixed[int(index)], float(outside))
        group = joined(len(sites), pairs)
        for index, site in enumerate(sites):
            members = np.flatnonzero(group == group[index])
            pinned = max(fixed[int(each)] for each in members)
            largest = max(float(self._range[sites[each].labels].max(initial=0.0)) for each in members)
            self.level[site] = pinned or largest

    def factors(self, site: Site, alpha: float) -> np.ndarray | None:
        """One factor per label of a site; None where nothing is known of its channels.

        Args:
            site: the site.
            alpha: how much of the ranges to even out: 1 all of them, whatever that does to the weights.
        """
        amax, weight = self._range[site.labels], self._weight[site.labels]
        largest, heaviest = amax.max(initial=0.0), weight.max(initial=0.0)
        if not largest:
            return None
        # Nothing is known of a channel that was never seen to be anything but 0: it is taken for a usual one.
        share = np.maximum(np.where(amax > 0, amax, np.median(amax[amax > 0])) / largest, _SMALLEST)
        made = share**alpha
        if heaviest:
            made /= np.maximum(weight / heaviest, _SMALLEST) ** (1 - alpha)
        made *= (share / made).max() * largest / self.level[site]
        return np.asarray(2.0 ** (np.rint(np.log2(made) * self._steps) / self._steps))


def input_channels_first(reader: Reader, weight: np.ndarray) -> tuple[np.ndarray, bool]:
    """A weight as [input channels, everything else], in groups one after the other; and whether it is depthwise.

    Args:
        reader: the layer.
        weight: as stored.
    """
    op = WEIGHTED[kind(reader.node)]
    if not op.convolution:
        axis = -2 if op.weight_axis(reader.node.attrs, reader.slot, weight.ndim) == weight.ndim - 1 else -1
        moved = np.moveaxis(weight, axis, 0)
        return moved.reshape(len(moved), -1), False
    groups = int(reader.node.attrs.get("group", 1))
    if reader.node.op == "ConvTranspose":
        return weight.reshape(len(weight), -1), groups == len(weight)
    rows = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return np.moveaxis(rows, 2, 1).reshape(groups * weight.shape[1], -1), weight.shape[1] == 1
