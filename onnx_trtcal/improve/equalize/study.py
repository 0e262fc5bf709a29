"""What the data says of a model's channels: how large they are, and what a few samples put into each layer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

# Samples that are kept: a third of them to choose factors on, the others to judge the whole model on.
_KEPT = 24
_EACH = 3


@dataclass(frozen=True)
class Study:
    """What one pass over the data leaves behind.

    Attributes:
        ranges: tensor -> the magnitude of each channel.
        choosing: per sample to choose on, the values of these tensors.
        judging: feeds of the samples to judge on, by rising content hash.
    """

    ranges: Mapping[str, np.ndarray]
    choosing: Sequence[Mapping[str, np.ndarray]]
    judging: Sequence[Mapping[str, np.ndarray]]


def study(
    prepared: Prepared,
    source: Source,
    counted: frozenset[str],
    axes: Mapping[str, int],
    session_options: SessionOptions,
    listener: Listener,
) -> Study:
    """Runs the float model over the data, sample by sample.

    Args:
        prepared: the model.
        source: the data, with what an item of it is.
        counted: content hashes of the samples that the calibration counted; others are left out.
        axes: the tensors to look at -> their channel axes, counted from the end.
        session_options: as for Session.
        listener: receives the progress.

    Raises:
        DataError: from reading the data.
        ModelError: when ONNX Runtime fails on the model.
    """
    names = tuple(axes)
    session = Session(probe(prepared.folded, prepared.model, names), *session_options)
    ranges, keeper = ChannelRanges(axes), SampleKeeper(_KEPT)
    with (
        listener.progress(source.count, "measuring channels") as advance,
        closing(batches(source, 1)) as stream,
    ):
        for batch in stream:
            if counted.issuperset(batch.hashes):
                keeper.offer(batch)
                ranges.add(dict(zip(names, session.run(batch.feeds, batch.names[0]), strict=True)))
            advance(batch.count)
    feeds = keeper.feeds()
    choosing = feeds[::_EACH]
    judging = [each for at, each in enumerate(feeds) if at % _EACH] or feeds
    values = [dict(zip(names, session.run(each, "a sample to choose on"), strict=True)) for each in choosing]
    found = {name: ranges.amax(name) for name in names}
    return Study({name: amax for name, amax in found.items() if amax is not None}, values, judging)
