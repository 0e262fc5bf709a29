"""How large batches may be, and how many passes it takes, so that a run stays inside its memory."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from onnx_trtcal.data.batching import batches
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.run.session import Session
from onnx_trtcal.support.wording import size as size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.stats.counter import CountingDevice

__all__ = ["Chunking", "choose_chunking", "chunk"]


@dataclass(frozen=True)
class Chunking:
    """How to split the work up so that the activations fit.

    Attributes:
        batch_size: samples per run.
        passes: the observed tensors of each pass over the data.
        reason: what was split and why, for the user; empty when nothing was.
        limit: how many bytes of activations may be alive; None for any number.
        sizes: bytes of each observed tensor for one sample, in graph order; empty where that is not known.
    """

    batch_size: int
    passes: tuple[tuple[str, ...], ...]
    reason: str = ""
    limit: int | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)

    def fitting(self, samples: int) -> tuple[str, ...]:
        """The observed tensors of which so many samples may be alive, all if possible; else late ones first."""
        observed = tuple(name for tensors in self.passes for name in tensors)
        if self.limit is None:
            return observed
        if not self.sizes:
            return observed[-1:]
        chosen, left = set(), self.limit / samples
        for name in reversed(observed):
            if self.sizes[name] <= left:
                chosen.add(name)
                left -= self.sizes[name]
        return tuple(name for name in observed if name in chosen)


def choose_chunking(
    prepared: Prepared, source: Source, options: Options, provider: Provider, device: CountingDevice
) -> Chunking:
    """How to split a run up so that it fits into the memory allowed, or else into what is free.

    Sizes come from the inferred shapes; where those do not tell, a first sample is run to see them.

    Args:
        prepared: the model and its plan.
        source: the data.
        options: the batch size and memory limit asked for.
        provider: what to run that sample on.
        device: where the activations stay until they are counted.

    Raises:
        DataError: from reading the first sample.
        ModelError: from running it.
    """
    observed = prepared.plan.observed
    feeding = source.feeding
    batch_size = feeding.batch_size(options.batch_size)
    limit = options.memory_limit
    if limit is None and options.batch_size is None:
        free = device.free_memory()
        # Half of it: the model's own intermediate results and the next batch need room as well.
        limit = None if free is None else free // 2
    fixed = bool(feeding.verbatim) or feeding.batch is not None
    samples = batch_size if fixed else 1
    sizes = _inferred_sizes(prepared, samples)
    if limit is None or (sizes and sum(sizes.values()) * batch_size <= limit * samples):
        return Chunking(batch_size, (observed,), "", limit, _per_sample(sizes, samples))
    if not source.countable:
        # Data that may be read only once leaves no sample to try, and no second pass.
        reason = "" if fixed else "batches of 1: memory is short, and the data may not be read twice"
        size = batch_size if fixed else 1
        return Chunking(size, (observed,), reason, limit, _per_sample(sizes, samples))
    sizes = sizes or _measured_sizes(prepared, source, options, provider, samples)
    chosen = chunk(sizes, samples, batch_size, limit, batch_is_fixed=fixed)
    return replace(chosen, limit=limit, sizes=_per_sample(sizes, samples))


def chunk(
    sizes: Mapping[str, int], samples: int, batch_size: int, limit: int | None, *, batch_is_fixed: bool
) -> Chunking:
    """The cheapest split under which the observed tensors of one batch take at most `limit` bytes.

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
            f"batches of {smaller} instead of {batch_size}, so that the activations fit into {size_text(limit)}",
        )
    least = batch_size if batch_is_fixed else 1
    passes = _split(sizes, limit * samples // least)
    return Chunking(
        least,
        passes,
        f"{len(passes)} passes over the data with batches of {least}: the activations of one batch take "
        f"{size_text(whole * least // samples)}, more than {size_text(limit)}",
    )


def _per_sample(sizes: Mapping[str, int], samples: int) -> dict[str, float]:
    return {name: size / samples for name, size in sizes.items()}


def _split(sizes: Mapping[str, int], limit: int) -> tuple[tuple[str, ...], ...]:
    passes: list[list[str]] = []
    used = 0
    for name, size in sizes.items():
        if not passes or used + size > limit:
            passes.append([])
            used = 0
        passes[-1].append(name)
        used += size
    return tuple(map(tuple, passes))


def _inferred_sizes(prepared: Prepared, samples: int) -> dict[str, int]:
    """Bytes of every observed tensor for a batch, from the inferred shapes; empty when one is not known.

    Axis 0 stands for the batch where it is not fixed.
    """
    sizes = {}
    for name in prepared.plan.observed:
        shape = prepared.model.shapes.get(name)
        if shape is None or not all(isinstance(dim, int) for dim in shape[1:]):
            return {}
        dims = [dim if isinstance(dim, int) else samples for dim in shape]
        sizes[name] = int(np.prod(dims, dtype=np.int64)) * _itemsize(prepared.model, name)
    return sizes


def _measured_sizes(
    prepared: Prepared, source: Source, options: Options, provider: Provider, samples: int
) -> dict[str, int]:
    """Bytes of every observed tensor for a batch of the first samples, none of which is kept for that."""
    model, observed = prepared.model, prepared.plan.observed
    shown = probe(prepared.observed, model, observed, shapes_only=True)
    session = Session(shown, provider, options.threads, options.ort_custom_ops)
    with closing(batches(replace(source, max_samples=samples), samples)) as stream:
        batch = next(stream)
        shapes = session.run(batch.feeds, batch.names[0])
    return {
        name: int(shape.prod()) * _itemsize(model, name) for name, shape in zip(observed, shapes, strict=True)
    }


def _itemsize(model: Model, name: str) -> int:
    """Bytes of one element of a tensor; tensors that folding adds are of float32."""
    return int(helper.tensor_dtype_to_np_dtype(model.elem_types.get(name) or TensorProto.FLOAT).itemsize)
