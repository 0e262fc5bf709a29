"""What the data says of a model's channels: how large they are, and what a few samples put into each layer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from onnx_trtcal.counting.trial import TRIAL, Trial, settle, tolerance
from onnx_trtcal.data.batching import batches
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.improve.equalize.ranges import ChannelRanges
from onnx_trtcal.run.session import Session
from onnx_trtcal.search.samples import SampleKeeper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.search.subgraph_runner import SessionOptions
    from onnx_trtcal.support.progress import Listener

__all__ = ["Study", "study"]

# Samples that are kept to choose on and to judge the whole model on: every third of them judges.
_KEPT = 96
_JUDGES = 3
# Of those to choose on, so many show what layers read.
_LOOKED_AT = 8


@dataclass(frozen=True)
class Study:
    """What one pass over the data leaves behind.

    Attributes:
        ranges: tensor -> the magnitude of each channel, over all samples; tensors with too few values are left out.
        choosing: feeds of the samples to choose on, by rising content hash.
        judging: feeds of the samples that are held back from choosing.
        chosen_ranges: tensor -> the magnitude of each channel, over the samples to choose on.
        values: per sample of some to choose on, the values of these tensors.
    """

    ranges: Mapping[str, np.ndarray]
    choosing: Sequence[Mapping[str, np.ndarray]]
    judging: Sequence[Mapping[str, np.ndarray]]
    chosen_ranges: Mapping[str, np.ndarray]
    values: Sequence[Mapping[str, np.ndarray]]


def study(
    prepared: Prepared,
    source: Source,
    axes: Mapping[str, int],
    session_options: SessionOptions,
    listener: Listener,
) -> Study:
    """Runs the float model over the data, sample by sample.

    Args:
        prepared: the model.
        source: the data.
        axes: the tensors to look at -> their channel axes, counted from the end.
        session_options: as for Session.
        listener: receives the progress.

    Raises:
        DataError: from reading the data.
        ModelError: when ONNX Runtime fails on the model.
    """
    names = tuple(axes)
    session = Session(probe(prepared.folded, prepared.model, names), *session_options)
    allowed = tolerance((prepared.model.elem_types.get(name, 0) for name in names), session_options[0])
    source = settle(source, Trial(names, partial(session.run, sample=TRIAL), allowed), listener)
    ranges, keeper = ChannelRanges(axes), SampleKeeper(_KEPT)
    # Of the samples with the smallest hashes, those to choose on among them.
    maxima: dict[str, Mapping[str, np.ndarray]] = {}
    with (
        listener.progress(source.count, "measuring channels") as advance,
        closing(batches(source, 1)) as stream,
    ):
        for batch in stream:
            keeper.offer(batch)
            arrays = dict(zip(names, session.run(batch.feeds, batch.names[0]), strict=True))
            found = ranges.add(arrays)
            # A fixed batch holds several samples, and what each of them reaches is not told apart.
            if batch.count == 1:
                maxima[batch.hashes[0]] = found
            if len(maxima) > 2 * _KEPT:
                maxima = {digest: maxima[digest] for digest in sorted(maxima)[:_KEPT]}
            advance(batch.count)
    kept = keeper.kept()
    judging = list(kept.values())[_JUDGES - 1 :: _JUDGES] or list(kept.values())
    choosing = {digest: each for at, (digest, each) in enumerate(kept.items()) if at % _JUDGES != _JUDGES - 1}
    chosen, values = ChannelRanges(axes), []
    for at, (digest, each) in enumerate(choosing.items()):
        if at < _LOOKED_AT or digest not in maxima:
            arrays = dict(zip(names, session.run(each, "a sample to choose on"), strict=True))
        if at < _LOOKED_AT:
            values.append(arrays)
        if digest in maxima:
            chosen.add_maxima(maxima[digest])
        else:
            chosen.add(arrays)
    few = ranges.few()
    known, seen = ({k: v for k, v in each.all().items() if k not in few} for each in (ranges, chosen))
    return Study(known, list(choosing.values()), judging, seen, values)
