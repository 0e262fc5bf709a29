"""How large batches may be, and how many passes it takes, so that a run stays inside its memory."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from onnx_trtcal.collect.memory import Chunking, available_memory, chunk
from onnx_trtcal.data.batching import batches, effective_batch_size
from onnx_trtcal.data.layout import feeding_of
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.graph.model.load import Model
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.run.provider import Provider
    from onnx_trtcal.stats.cuda.gpu import Gpu

__all__ = ["choose_chunking"]


def choose_chunking(
    prepared: Prepared, source: Source, options: Options, provider: Provider, gpu: Gpu | None = None
) -> Chunking:
    """How to cut a run up so that it fits into the memory allowed, or else into that at hand.

    Sizes come from the inferred shapes; where those do not tell, a first sample is run to see them.

    Args:
        prepared: the model and its plan.
        source: the data.
        options: the batch size and memory limit asked for.
        provider: what to run that sample on.
        gpu: where the activations stay; None for the host.

    Raises:
        DataError, ModelError: as reading and running the first sample do.
    """
    inputs, observed = prepared.model.inputs, prepared.plan.observed
    batch_size = effective_batch_size(inputs, options.batch_size)
    limit = options.memory_limit
    if limit is None and options.batch_size is None:
        # Half of it: the model's own intermediate results and the next batch need room as well.
        limit = (gpu.free_memory() if gpu else available_memory() or 1 << 62) // 2
    feeding = feeding_of(inputs)
    fixed = bool(feeding.verbatim) or feeding.batch is not None
    samples = batch_size if fixed else 1
    sizes = _inferred_sizes(prepared, samples)
    if limit is None or (sizes and sum(sizes.values()) * batch_size <= limit * samples):
        return Chunking(batch_size, (observed,))
    if not source.countable:
        # Data that may be read only once leaves no sample to try, and no second pass.
        reason = "" if fixed else "batches of 1: memory is short, and the data may not be read twice"
        return Chunking(batch_size if fixed else 1, (observed,), reason)
    sizes = sizes or _measured_sizes(prepared, source, options, provider, samples)
    return chunk(sizes, samples, batch_size, limit, fixed)


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
    with closing(batches(replace(source, max_samples=samples), model.inputs, samples)) as stream:
        batch = next(stream)
        shapes = session.run(batch.feeds, batch.names[0])
    return {
        name: int(shape.prod()) * _itemsize(model, name) for name, shape in zip(observed, shapes, strict=True)
    }


def _itemsize(model: Model, name: str) -> int:
    """Bytes of one element of a tensor; folding makes no tensors but floats."""
    return helper.tensor_dtype_to_np_dtype(model.elem_types.get(name) or TensorProto.FLOAT).itemsize
