"""Everything counted for one model: a histogram per observed tensor, and which samples are in them."""

from __future__ import annotations

import json
from collections import Counter as Multiset
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_trtcal.data.seen_shapes import SeenShapes
from onnx_trtcal.errors import ModelError, StatisticsError, listed
from onnx_trtcal.stats.arrays import as_counted
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.host import HostCounter
from onnx_trtcal.stats.origin import Origin, quoted
from onnx_trtcal.support.files import natural_key
from onnx_trtcal.support.wording import many

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from onnx_trtcal.data.shard import Shards
    from onnx_trtcal.options import Range
    from onnx_trtcal.stats.counter import Counter, CountingDevice
    from onnx_trtcal.support.device_array import Activation

__all__ = ["Collection"]


class Collection:
    """The statistics of one run, or of several merged.

    Under the rule `stable` its content depends on the samples counted only, not on their order, their
    batches or the runs they were counted in.

    Args:
        tensors: names of the observed tensors, in graph order.
        model: SHA-256 of the model, in hexadecimal.
        rule: the histograms' range rule.
        options: whatever else must be equal for two collections to add up (observation, preprocessing …),
            of types that JSON has.
        shards: of one shard of the data, which it is.

    Attributes:
        first_nonfinite: tensor -> the sample, first in natural order, that gave it a NaN or Inf. Where that cannot
            be told, see `add`, the first sample of the batch stands for it.
        options: as given, with JSON's lists for tuples.
        shapes: per input, the smallest and largest shapes of a sample; empty while they are not known.
        shards: which shards of a run these are; None when they are all of them, or the run had none.
    """

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value

    def __init__(
        self,
        tensors: Sequence[str],
        *,
        model: str,
        rule: Range = "stable",
        options: Mapping[str, Any] | None = None,
        shards: Shards | None = None,
    ) -> None:
        self.model = model
        self.rule = rule
        self.options: dict[str, Any] = json.loads(json.dumps(dict(options or {}), allow_nan=False))
        self._histograms = {name: Histogram(rule) for name in tensors}
        self._counter: Counter = HostCounter(self._histograms)
        self.first_nonfinite: dict[str, str] = {}
        self.shapes: dict[str, SeenShapes] = {}
        self.shards = shards if shards and shards.missing else None
        self._samples: set[tuple[str, str]] = set()
        # Their contents, made when they are first asked for.
        self._contents: set[str] | None = None

    def __repr__(self) -> str:
        return (
            f"<Collection of {many(len(self._samples), 'sample')}, {many(len(self._histograms), 'tensor')}>"
        )

    @property
    def histograms(self) -> dict[str, Histogram]:
        """Observed tensor -> its histogram, in graph order; counts on a device are fetched first."""
        self._counter.settle()
        return self._histograms

    @property
    def origin(self) -> Origin:
        """What it counts: the model, the range rule, the options and the tensors."""
        return Origin(self.model, self.rule, self.options, tuple(self._histograms))

    @property
    def samples(self) -> list[tuple[str, str]]:
        """(name, hash) of every sample counted, sorted."""
        return sorted(self._samples)

    def __contains__(self, sample: tuple[str, str]) -> bool:
        """Whether the sample (name, hash) is counted."""
        return sample in self._samples

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collection):
            return NotImplemented
        return (
            self.origin == other.origin
            and self._samples == other._samples
            and self.first_nonfinite == other.first_nonfinite
            and self.shapes == other.shapes
            and self.shards == other.shards
            and self.histograms == other.histograms
        )

    def count_on(self, device: CountingDevice) -> None:
        """Has the batches from here on counted on a device, which must be where their activations are."""
        self._counter.settle()
        self._counter = device.counter(self._histograms)

    def add(
        self,
        names: Sequence[str],
        hashes: Sequence[str],
        arrays: Mapping[str, Activation],
        pool: Executor | None = None,
        alone: Callable[[int], Mapping[str, Activation]] | None = None,
    ) -> None:
        """Counts one batch.

        Args:
            names: of the batch's samples, in the order of the arrays' rows.
            hashes: of the samples' content, in the same order.
            arrays: observed tensor -> its values, every tensor of the collection.
            pool: threads to count with; None counts in the calling thread.
            alone: the arrays of the sample at a position, run by itself: that is how the sample that gave a NaN or Inf
                is found, whatever the batch. Without it, a tensor's rows tell where its first axis is a multiple of
                the batch.

        Raises:
            StatisticsError: when a sample is counted already, or a tensor is missing, unknown or not of
                floats; nothing is counted then.
        """
        samples = list(zip(names, hashes, strict=True))
        self.check_fresh(samples)
        _check_names(arrays, self._histograms, names)
        odd = self._counter.add(arrays, pool)
        if alone is not None and len(names) > 1:
            self._find_nonfinite(odd, names, alone)
        else:
            for name in odd:
                self._note_nonfinite(name, _nonfinite_samples(self._counted(arrays[name]), names))
        self._note_samples(samples)

    def see(self, shapes: Mapping[str, SeenShapes]) -> None:
        """Takes in the shapes of samples, per input."""
        for name, seen in shapes.items():
            known = self.shapes.setdefault(name, SeenShapes(item_axis=seen.item_axis))
            known.item_axis = seen.item_axis if known.item_axis == seen.item_axis else None
            known.add(seen.smallest)
            known.add(seen.largest)

    def take(self, part: Collection) -> None:
        """Takes over the histograms of a part: some of this collection's tensors over the same samples.

        With parts, more tensors are counted than one run has memory for. `part` shares its histograms
        with this collection from then on.

        Raises:
            StatisticsError: when the part has other tensors, or counted other samples than parts before.
        """
        self.origin.check_same(replace(part.origin, tensors=self.origin.tensors))
        if unknown := [name for name in part.histograms if name not in self._histograms]:
            raise StatisticsError(f"a part has histograms of other tensors: {quoted(unknown)}")
        if self._samples and self._samples != part._samples:
            odd = [name for name, _ in sorted(self._samples ^ part._samples)]
            raise StatisticsError(
                f"a part was collected over other samples: only one of the two has {quoted(odd)}",
                fix="collect every part over the same data",
            )
        self._note_samples(part._samples)
        self.see(part.shapes)
        self.histograms.update(part.histograms)
        self.first_nonfinite.update(part.first_nonfinite)

    def share(self) -> Collection:
        """An empty collection for some of the samples that this one is to hold, see `absorb`.

        Its ranges are those that this one has reached, so that they need not grow once more.
        """
        share = Collection(tuple(self._histograms), model=self.model, rule=self.rule, options=self.options)
        for histogram, own in zip(share._histograms.values(), self.histograms.values(), strict=True):
            histogram.reach(own.amax)
        # What comes after these need not be found.
        share.first_nonfinite.update(self.first_nonfinite)
        return share

    def absorb(self, share: Collection) -> None:
        """Takes over what a share has counted, of samples that this collection does not hold."""
        for histogram, counted in zip(self.histograms.values(), share.histograms.values(), strict=True):
            histogram.merge(counted)
        self._samples |= share._samples
        for name, sample in share.first_nonfinite.items():
            self._note_nonfinite(name, [sample])

    def merge(self, other: Collection) -> None:
        """Adds what another collection counted; `other` stays as it is.

        Merging is commutative and associative: shards give what one run over all samples would. Two shards of one run
        may hold the same content under two names, as that run would count it twice; in two runs it is one sample.

        Raises:
            StatisticsError: when the two do not belong together, or share a sample or a shard; nothing is merged then.
        """
        self.origin.check_same(other.origin)
        if self.rule == "tensorrt":
            raise StatisticsError(
                "statistics of the range rule 'tensorrt' cannot be merged: each run's ranges depend on its "
                "first batch, so the bins do not line up",
                fix="collect with --range stable",
            )
        shards = self._joined_shards(other)
        self._check_apart(other, one_run=self.shards is not None)
        self.shards = shards if shards and shards.missing else None
        self._merge_shapes(other)
        self._note_samples(other._samples)
        histograms = self.histograms
        for name, histogram in other.histograms.items():
            histograms[name].merge(histogram)
        for name, sample in other.first_nonfinite.items():
            self._note_nonfinite(name, [sample])

    def tied_histograms(self, ties: Iterable[Sequence[str]]) -> dict[str, Histogram]:
        """The histograms to solve: those of a tie added up, and the sum given to each of its tensors.

        Args:
            ties: sets of observed tensors that share a scale.

        Returns:
            Observed tensor -> histogram, in graph order; the collection itself is not changed.

        Raises:
            StatisticsError: when there are ties and the range rule is `tensorrt`, whose bins do not line up.
        """
        histograms = dict(self.histograms)
        for names in ties:
            total = Histogram(self.rule)
            for name in names:
                total.merge(self.histograms[name])
            histograms.update(dict.fromkeys(names, total))
        return histograms

    def restore_samples(self, samples: Iterable[tuple[str, str]]) -> None:
        """Notes (name, hash) of samples whose counts the histograms are about to be given."""
        noted = list(samples)
        self.check_fresh(noted)
        self._note_samples(noted)

    def _note_samples(self, samples: list[tuple[str, str]] | set[tuple[str, str]]) -> None:
        self._samples.update(samples)
        if self._contents is not None:
            self._contents.update(content for _, content in samples)

    def _joined_shards(self, other: Collection) -> Shards | None:
        if self.shards is None and other.shards is None:
            return None
        if self.shards is not None and other.shards is not None:
            return self.shards.joined(other.shards)
        part = self.shards or other.shards
        assert part is not None
        raise StatisticsError(
            f"one of the two holds only {part.named(sorted(part.have))} of a run, and the other is of another run",
            fix="merge all shards of that run with one another first",
        )

    def _merge_shapes(self, other: Collection) -> None:
        """Takes in another's shapes, before its samples; without samples, a collection has none to tell."""
        if not other._samples:
            return
        # Where one of the two does not tell, its shapes might be any.
        known = set(self.shapes) if self._samples else set(other.shapes)
        self.shapes = {name: seen for name, seen in self.shapes.items() if name in other.shapes}
        self.see({name: seen for name, seen in other.shapes.items() if name in known})

    def check_fresh(
        self, samples: Sequence[tuple[str, str]], admitted: Container[tuple[str, str]] = ()
    ) -> None:
        """Refuses samples that are counted already.

        Args:
            samples: (name, hash) of each.
            admitted: samples that are as good as counted.

        Raises:
            StatisticsError: naming them.
        """
        times = Multiset(samples)
        double = sorted(
            sample for sample in times if times[sample] > 1 or sample in self._samples or sample in admitted
        )
        if double:
            raise StatisticsError(
                f"samples would be counted twice: {quoted([name for name, _ in double])}",
                fix="give each sample (same name and same content) once",
            )

    def _check_apart(self, other: Collection, *, one_run: bool) -> None:
        # The names depend on the folder that a run was given; the same content in two runs is one sample.
        if one_run:
            ours: dict[str, str] = {}
            clash = not self._samples.isdisjoint(other._samples)
        else:
            if self._contents is None:
                self._contents = {content for _, content in self._samples}
            clash = any(content in self._contents for _, content in other._samples)
            ours = {content: name for name, content in sorted(self._samples, reverse=True)} if clash else {}
        if not clash:
            return
        double = []
        for sample in other.samples:
            name, content = sample
            if sample in self._samples:
                double.append(repr(name))
            elif content in ours:
                double.append(f"{ours[content]!r}, called {name!r} in the other")
        raise StatisticsError(
            f"samples would be counted twice: {listed(double)}",
            fix="collect one of the two again without what the other holds (content counts, not names)",
        )

    def _counted(self, array: Activation) -> np.ndarray:
        return as_counted(self._counter.download(array), self.rule)

    def _find_nonfinite(
        self, odd: Sequence[str], names: Sequence[str], alone: Callable[[int], Mapping[str, Activation]]
    ) -> None:
        """Notes which sample of a batch, first in natural order, gives tensors a NaN or Inf."""
        left = list(odd)
        if not left:
            return
        for place in sorted(range(len(names)), key=lambda place: natural_key(names[place])):
            sample = names[place]
            left = [name for name in left if self._would_be_first(name, sample)]
            if not left:
                return
            try:
                arrays = alone(place)
            except ModelError:
                break
            for name in left:
                if not np.isfinite(self._counted(arrays[name])).all():
                    self._note_nonfinite(name, [sample])
        # Of values that depend on the whole batch, or are finite by a rounding where a sample is alone.
        for name in left:
            if self.first_nonfinite.get(name) not in names:
                self._note_nonfinite(name, names)

    def _would_be_first(self, tensor: str, sample: str) -> bool:
        known = self.first_nonfinite.get(tensor)
        return known is None or natural_key(sample) < natural_key(known)

    def _note_nonfinite(self, tensor: str, samples: Sequence[str]) -> None:
        known = [self.first_nonfinite[tensor]] if tensor in self.first_nonfinite else []
        self.first_nonfinite[tensor] = min([*known, *samples], key=natural_key)


def _check_names(given: Mapping[str, Any], wanted: Mapping[str, Any], samples: Sequence[str]) -> None:
    if given.keys() == wanted.keys():
        return
    unknown = [name for name in given if name not in wanted]
    missing = [name for name in wanted if name not in given]
    if unknown:
        raise StatisticsError(f"the batch has unexpected values of {quoted(unknown)}", where=quoted(samples))
    if missing:
        raise StatisticsError(f"the batch has no values of {quoted(missing)}", where=quoted(samples))


def _nonfinite_samples(array: np.ndarray, names: Sequence[str]) -> list[str]:
    """The samples of a batch whose rows hold a NaN or Inf; all of them where rows cannot be told apart."""
    if array.ndim == 0 or array.shape[0] % len(names):
        return list(names)
    rows = np.isfinite(array).reshape(len(names), -1).all(axis=1)
    return [name for name, finite in zip(names, rows, strict=True) if not finite]
