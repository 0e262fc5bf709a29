"""Chooses the factors of each site by what they gain: the error of the INT8 layers that read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onnx_trtcal.improve.equalize.factors import FactorMaker
    from onnx_trtcal.improve.equalize.local_error import LayerError
    from onnx_trtcal.improve.equalize.roles import Reader
    from onnx_trtcal.improve.equalize.sites import Site, Sites

__all__ = ["Choice", "SiteGain", "choose_factors"]

# How much of the ranges to even out, see `factors`. More costs weights, and leaves no channel room for what other data
# holds: on 20 images of a detector, 0.7 everywhere kept 82 % of the detections, the best of up to 1 by layer 71 %.
_ALPHAS = (0.3, 0.5, 0.7)
_FIRST = 0.7
# A site is left as it is unless the error falls by more than this share: less is chance.
_WORTH = 0.02
# Sites that one layer reads depend on one another: the second round sees what the first made of the others.
_ROUNDS = 2


@dataclass(frozen=True)
class SiteGain:
    """What became of one site.

    Attributes:
        tensor: the tensor that names it.
        alpha: how much its ranges are evened out; None where it is left as it is.
        gain: by how many dB the error of the layers that read it falls.
        inserts: whether a Mul was put in for it.
    """

    tensor: str
    alpha: float | None
    gain: float
    inserts: bool = False


@dataclass(frozen=True, eq=False)
class Choice:
    """Factors for a graph.

    Attributes:
        factors: one per channel number.
        gains: per site, in graph order.
    """

    factors: np.ndarray
    gains: tuple[SiteGain, ...]

    @property
    def chosen(self) -> tuple[SiteGain, ...]:
        """The sites that are rewritten."""
        return tuple(each for each in self.gains if each.alpha is not None)

    def keeping(self, sites: Sites, kept: Collection[str]) -> Choice:
        """The same for some sites, the others being left as they are.

        Args:
            sites: those that it was chosen for.
            kept: the names of the sites that keep their factors.
        """
        of_label = np.ones(len(self.factors))
        for site in sites.sites:
            if site.name in kept:
                of_label[site.labels] = self.factors[site.labels]
        gains = tuple(
            each if each.tensor in kept else SiteGain(each.tensor, None, 0.0) for each in self.gains
        )
        return Choice(of_label[sites.labels], gains)

    def with_ranges(self, sites: Sites, maker: FactorMaker) -> Choice:
        """As far evened out as this, by other ranges.

        Args:
            sites: those that it was chosen for.
            maker: makes factors from the other ranges.
        """
        of_label = np.ones(len(self.factors))
        for site, gain in zip(sites.sites, self.gains, strict=True):
            made = None if gain.alpha is None else maker.factors(site, gain.alpha)
            if made is not None:
                of_label[site.labels] = made
        return Choice(of_label[sites.labels], self.gains)


def choose_factors(sites: Sites, maker: FactorMaker, errors: Mapping[Reader, LayerError]) -> Choice:
    """The factors under which the layers that read each site are wrong by least.

    Args:
        sites: of a graph.
        maker: makes the factors.
        errors: the layers, with samples of what they read.
    """
    factors = np.ones(len(sites.labels))
    alphas: dict[Site, float | None] = dict.fromkeys(sites.sites)
    for site in sites.sites:
        first = maker.factors(site, _FIRST)
        if first is not None and any(reader in errors for reader in site.readers):
            factors[site.labels], alphas[site] = first, _FIRST
    usable = [site for site in sites.sites if alphas[site] is not None]
    measured = _Measured(sites, errors)
    gains: dict[Site, float] = {}
    for _ in range(_ROUNDS):
        for site in usable:
            alphas[site], gains[site] = _best(site, factors, maker, measured)
    chosen = tuple(
        SiteGain(site.name, alphas[site], gains.get(site, 0.0), site.inserts and alphas[site] is not None)
        for site in sites.sites
    )
    return Choice(factors[sites.labels], chosen)


def _best(
    site: Site, factors: np.ndarray, maker: FactorMaker, measured: _Measured
) -> tuple[float | None, float]:
    """Gives a site its best factors, the others being as they are; returns alpha and the gain in dB."""
    plain = np.ones(len(site.labels))
    factors[site.labels] = plain
    before = measured.error(site, factors)
    chosen, kept, least = None, plain, (1 - _WORTH) * before
    for alpha in _ALPHAS:
        made = maker.factors(site, alpha)
        if made is None:
            continue
        factors[site.labels] = made
        error = measured.error(site, factors)
        if error < least:
            chosen, kept, least = alpha, made, error
    factors[site.labels] = kept
    return chosen, _decibels(before, least) if chosen is not None else 0.0


class _Measured:
    """Errors of layers, each measured once for the same factors."""

    def __init__(self, sites: Sites, errors: Mapping[Reader, LayerError]) -> None:
        self._labels = sites.labels
        self._errors = errors
        self._known: dict[tuple[Reader, bytes], float] = {}

    def error(self, site: Site, factors: np.ndarray) -> float:
        """The relative errors of the layers that read a site, added up."""
        total = 0.0
        for reader in site.readers:
            layer = self._errors.get(reader)
            if layer is None:
                continue
            own = factors[self._labels[reader.ids]]
            key = (reader, own.tobytes())
            if key not in self._known:
                self._known[key] = layer.relative(own)
            total += self._known[key]
        return total


def _decibels(before: float, after: float) -> float:
    if not before or not after:
        return 0.0
    return 10 * math.log10(before / after)
