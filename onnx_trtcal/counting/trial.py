"""What an item is: a few of them are run alone and together, and run together for good only if that is the same.

Names of dimensions prove nothing. Of a time-major sequence, a point cloud or a list of tokens, axis 0 is not a
batch axis, and some models mix their batch inside. So the first items that the data seems to hold are run

- alone, each by itself, and
- together, as one batch;

every observed tensor must come out the same (see `fidelity.rows`). If it does, axis 0 holds items, and how many are
run at a time makes no difference. If it does not, a file or element is one item and is fed as it is. If they cannot
be run together at all (a Reshape that is fixed to one item), or share a tensor that depends on none of them (and that
would count once a batch), each is run by itself. Where the graph proves that they are independent (see
`graph.independent_rows`), nothing is run.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_trtcal.data.batching import batch_of, sample_hash
from onnx_trtcal.data.sources import feeding_lines
from onnx_trtcal.errors import ModelError
from onnx_trtcal.fidelity.rows import RowCheck, relative_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from onnx_trtcal.data.layout import Feeding
    from onnx_trtcal.data.samples import Sample
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.support.progress import Listener

__all__ = ["MOST_TRIED", "TRIAL", "Trial", "settle", "tolerance"]

MOST_TRIED = 16
TRIAL = "the trial"  # names its runs in error messages

_FEW = 3
# Items of at most so many values are tried by the dozen: rows that lie apart may meet in a dilated convolution.
_SMALL = 1024
_LOOKED_AT = 64
_MOST_BYTES = 64 << 20

_TOLERANCE = 1e-4
# Relative spacing of the types that round more than that.
_SPACING: dict[int, float] = {TensorProto.FLOAT16: 2.0**-10, TensorProto.BFLOAT16: 2.0**-7}
# The order of a sum may depend on the batch size; a few roundings add up.
_ROUNDINGS = 8


@dataclass(frozen=True)
class Trial:
    """How to try a model.

    Attributes:
        names: its observed tensors.
        run: gives their values for a feed; raises ModelError.
        tolerance: see `tolerance`.
        most: how many items to run together at most.
        workers: how many runs are made at a time.
    """

    names: Sequence[str]
    run: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
    tolerance: float
    most: int = MOST_TRIED
    workers: int = 1

    def results(
        self, feeds: Iterable[Mapping[str, np.ndarray]]
    ) -> Generator[Future[Sequence[np.ndarray]], None, None]:
        """The runs of these feeds, in their order; no more of them than workers are under way or waiting."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="calibration-trial") as pool:
            runs: deque[Future[Sequence[np.ndarray]]] = deque()
            for each in feeds:
                runs.append(pool.submit(self.run, each))
                if len(runs) == self.workers:
                    yield runs.popleft()
            yield from runs


def tolerance(elem_types: Iterable[int], provider: Provider) -> float:
    """How far values may be apart that differ only by rounding, as a share of a tensor's largest magnitude.

    Args:
        elem_types: ONNX's type numbers of the observed tensors.
        provider: an accelerator may compute float32 with the precision of float16 (TF32).
    """
    spacing = [_SPACING.get(elem_type, 0.0) for elem_type in elem_types]
    if provider.device is not None:
        spacing.append(_SPACING[TensorProto.FLOAT16])
    return max(_TOLERANCE, _ROUNDINGS * max(spacing, default=0.0))


def settle(source: Source, trial: Trial | None, listener: Listener) -> Source:
    """The source with its items settled: by shapes or `--item-axis` where those say enough, else by trial.

    Args:
        source: the data; items that are looked at here are not lost to it.
        trial: of the model; None where its graph is proven to compute every row of axis 0 by itself.
        listener: receives what was found, where it is not that axis 0 is a batch axis.
    """
    if not source.feeding.open:
        return source
    items = _items(source)
    if items is None:
        return source
    feeding, line = _padded(source, items, trial) if source.feeding.batch else _tried(source, items, trial)
    for text in (line,) if line else feeding_lines(source.inputs, feeding):
        listener.say(text)
    return source if feeding == source.feeding else source.settled(feeding)


def _items(source: Source) -> list[Sample] | None:
    """Items of one shape and different contents; None when no two items of the data can be run together."""
    groups: dict[tuple[tuple[int, ...], ...], dict[str, Sample]] = {}
    size, more, again = 0, False, None
    for looked, sample in enumerate(source.first_samples()):
        if looked == _LOOKED_AT or size > _MOST_BYTES:
            more = True
            break
        size += sum(array.nbytes for array in sample.arrays.values())
        group = groups.setdefault(tuple(array.shape for array in sample.arrays.values()), {})
        again = again or (sample if group else None)
        group[sample_hash(sample)] = sample
        values = max((array.size for array in sample.arrays.values()), default=0)
        if len(group) == (MOST_TRIED if values <= _SMALL else _FEW):
            return list(group.values())
    largest = max(groups.values(), key=len, default={})
    if len(largest) < 2 and again is not None:
        return [again, _changed(again)]
    return list(largest.values()) if len(largest) > 1 or more else None


def _changed(sample: Sample) -> Sample:
    """Another item of the same kind, where those at hand are all equal."""
    arrays = {}
    for name, array in sample.arrays.items():
        if array.dtype.kind == "f":
            most = float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) or 1.0
            wave = np.cos(np.arange(array.size, dtype=np.float64)).reshape(array.shape)
            arrays[name] = ((array + most * wave) / 2).astype(array.dtype)
        else:
            arrays[name] = array.ravel()[::-1].reshape(array.shape)
    return replace(sample, arrays=arrays)


def _tried(source: Source, items: Sequence[Sample], trial: Trial | None) -> tuple[Feeding, str]:
    """How items are to be fed, and what is to be said of that beyond `feeding_lines`."""
    feeding = source.feeding
    if len(items) < 2:
        return feeding.as_given("no two of the first items have the same shape"), ""
    if trial is None:
        return feeding, ""
    items = items[: trial.most]
    wanted = (items[:1], items, *([item] for item in items[1:]))
    with closing(trial.results(_feeds(each, feeding) for each in wanted)) as results:
        try:
            alone = next(results).result()
        except ModelError as error:
            return feeding.as_given(f"one row of axis 0 does not run alone: {error.what}"), ""
        try:
            check = RowCheck(trial.names, next(results).result(), trial.tolerance)
        except ModelError as error:
            line = f"items are run one at a time, because {len(items)} together do not run: {error.what}"
            return replace(feeding, batch=1), line
        difference = check.take(alone)
        del alone  # of every item in turn: no more of them are in memory than `Trial.workers`
        for result in results:
            if difference:
                break
            try:
                difference = check.take(result.result())
            except ModelError as error:
                difference = f"one row of axis 0 does not run alone: {error.what}"
            del result
    difference = difference or check.finish()
    if not difference and check.apart:
        return replace(feeding, batch=1), (
            f"items are run one at a time: tensor {next(iter(check.apart))!r} depends on none of them, and would "
            "be counted less often in larger batches"
        )
    return (
        (feeding.as_given(f"axis 0 holds no independent items: {difference}"), "")
        if difference
        else (feeding, "")
    )


def _padded(source: Source, items: Sequence[Sample], trial: Trial | None) -> tuple[Feeding, str]:
    """Whether the rows of a fixed batch influence each other, so that those that only pad it matter."""
    feeding = source.feeding
    rows = feeding.batch or 1
    if len(items) < 2 or trial is None:
        return feeding, ""
    try:
        mixed = trial.run(_feeds(items[:rows], feeding))
        padded = trial.run(_feeds(items[:1], feeding))
    except ModelError:
        return feeding, ""  # the run itself will say so
    for name, one, other in zip(trial.names, mixed, padded, strict=True):
        if one.dtype.kind != "f":
            continue
        if one.ndim and one.shape[0] == rows:
            one, other = one[:1], other[:1]
        if one.shape != other.shape or relative_distance(one, other, one) > trial.tolerance:
            count = source.count
            line = (
                ""
                if count is not None and count % rows == 0
                else f"the model computes tensor {name!r} from all rows of its fixed batch of {rows}: rows that "
                "only fill up the last batch take part in its scale; give a multiple of "
                f"{rows} samples to avoid that"
            )
            return replace(feeding, full_only=True), line
    return feeding, ""


def _feeds(items: Sequence[Sample], feeding: Feeding) -> Mapping[str, np.ndarray]:
    return batch_of([(item, "") for item in items], feeding).feeds
