"""What the page says of each tensor that has a scale of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx_trtcal.methods.compare import comparable_methods
from onnx_trtcal.methods.score import score
from onnx_trtcal.report.page.facts import Beside, Moved, TensorFacts, Threshold
from onnx_trtcal.report.page.weights import weights_of
from onnx_trtcal.scales import QUANTIZED_MAX
from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.calibration import Calibration
    from onnx_trtcal.report.page.material import Material
    from onnx_trtcal.report.page.measured import MeasuredTensor, Ranked, RankedHarm
    from onnx_trtcal.report.page.network import Network, Unit

__all__ = ["tensors_of"]

_PRODUCT = "Gemm before its bias"


def tensors_of(material: Material, network: Network) -> tuple[TensorFacts, ...]:
    """The facts of every observed tensor, in graph order; flags are still to come."""
    joined = _Joined.of(material, network)
    thresholds = _thresholds(material.source.calibration, network)
    found = []
    for at, (name, unit) in enumerate(network.units.items()):
        product = name in network.plan.products
        facts = TensorFacts(
            key=f"t{at}",
            name=name,
            op=_PRODUCT if product else unit.op,
            node=unit.node,
            precision="" if product else unit.precision,
            why="" if product else unit.why,
            members=tuple(joined.members.get(name, ())),
            product=product,
        )
        found.append(joined.completed(_scaled(facts, material, thresholds.get(name, ())), unit))
    return tuple(found)


def _scaled(facts: TensorFacts, material: Material, thresholds: tuple[Threshold, ...]) -> TensorFacts:
    """With the scale, and with what is known of the range."""
    name, calibration = facts.name, material.source.calibration
    if calibration is None:
        scale = material.source.scales.get(name)
        return replace(facts, scale=scale, threshold=None if scale is None else scale * QUANTIZED_MAX)
    item, histogram = calibration.scales[name], calibration.histograms[name]
    return replace(
        facts,
        scale=item.scale,
        threshold=item.threshold,
        method=item.method,
        amax=histogram.amax,
        histogram=histogram,
        values=histogram.total,
        thresholds=thresholds,
    )


def _thresholds(calibration: Calibration | None, network: Network) -> dict[str, tuple[Threshold, ...]]:
    """Of every tensor that held a value, the thresholds of all methods, the smallest first."""
    if calibration is None:
        return {}
    methods = comparable_methods()

    def solved(name: str) -> tuple[Threshold, ...]:
        item, histogram = calibration.scales[name], calibration.histograms[name]
        if not histogram.total:
            return ()
        found = {str(each): each.solve(histogram) for each in methods if str(each) != item.method}
        values = sorted({**found, item.method: item.threshold}.items(), key=lambda each: (each[1], each[0]))
        scores = [score(histogram, threshold) for _, threshold in values]
        return tuple(
            Threshold(method, threshold, of.clipped, of.sqnr, method == item.method)
            for (method, threshold), of in zip(values, scores, strict=True)
        )

    with ThreadPoolExecutor(calibration.options.threads or cores()) as pool:
        return dict(zip(network.units, pool.map(solved, network.units), strict=True))


@dataclass(frozen=True)
class _Joined:
    """Whatever is known elsewhere, by the name that it is known by there.

    Attributes:
        material: all of it.
        network: whose layers have weights.
        members: tensor -> the tensors that take its scale, and why.
        measured: tensor -> its error, end to end.
        harms: node name or first output -> the rank of its group, and the damage.
    """

    material: Material
    network: Network
    members: Mapping[str, list[tuple[str, str]]]
    measured: Mapping[str, MeasuredTensor]
    harms: Mapping[str, tuple[int, RankedHarm]]

    @classmethod
    def of(cls, material: Material, network: Network) -> _Joined:
        members: dict[str, list[tuple[str, str]]] = {}
        for name, owner in network.plan.owners.items():
            if owner.source != name:
                members.setdefault(owner.source, []).append((name, owner.reason))
        measured = {each.name: each for each in material.measured.tensors} if material.measured else {}
        return cls(
            material,
            network,
            members,
            measured,
            _harms(material.ranked),
        )

    def completed(self, facts: TensorFacts, unit: Unit) -> TensorFacts:
        """With error, damage, what the cache and the run before say, and the layer's weights."""
        error = self.measured.get(facts.name)
        rank, harm = None, None
        if not facts.product:
            rank, harm = next(
                (self.harms[name] for name in sorted(unit.nodes & self.harms.keys())), (None, None)
            )
        return replace(
            facts,
            sqnr=error.sqnr if error else None,
            lost=error.lost if error else 0.0,
            rank=rank,
            harm=harm.sqnr if harm else None,
            beside=self._beside(facts),
            moved=self._moved(facts),
            weights=None if facts.product else weights_of(self.network, unit.anchor),
        )

    def _beside(self, facts: TensorFacts) -> Beside | None:
        cache = self.material.cache
        if cache is None or facts.name not in cache.scales or not facts.scale:
            return None
        scale = cache.scales[facts.name]
        return Beside(scale, scale / facts.scale)

    def _moved(self, facts: TensorFacts) -> Moved | None:
        earlier = self.material.earlier
        scale = earlier.scales.get(facts.name) if earlier else None
        if earlier is None or not scale or not facts.scale:
            return None
        before = earlier.calibration
        if before is None or facts.name not in before.histograms:
            return Moved(None, scale * QUANTIZED_MAX, scale * QUANTIZED_MAX, facts.scale / scale)
        item = before.scales[facts.name]
        return Moved(before.histograms[facts.name], item.threshold, item.amax, facts.scale / scale)


def _harms(ranked: Ranked | None) -> dict[str, tuple[int, RankedHarm]]:
    """Each group under its name and under what identifies it where the name is also another's."""
    found: dict[str, tuple[int, RankedHarm]] = {}
    for rank, group in enumerate(ranked.groups, 1) if ranked else ():
        found[group.pattern] = rank, group
        found.setdefault(group.name, (rank, group))
    return found
