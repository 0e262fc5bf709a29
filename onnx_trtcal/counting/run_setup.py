"""How many workers run and count the model at a time, on how many threads, and whether they copy what they give out.

Workers of one thread each keep every core busy from end to end: a run on all cores waits for its slowest thread at
every op, and leaves the other cores idle where an op is small. What they take is memory, for each has activations of
its own. So a batch is run in pieces where all of them would take too much. The values of a sample depend neither on
the samples it is run with nor on the threads: nothing of this shows in a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_trtcal.graph.model.external import tensor_nbytes, tensors_of
from onnx_trtcal.graph.view import is_random
from onnx_trtcal.support.cores import cores

if TYPE_CHECKING:
    from onnx_trtcal.counting.chunking import Chunking
    from onnx_trtcal.data.sources import Source
    from onnx_trtcal.options import Options
    from onnx_trtcal.prepared import Prepared
    from onnx_trtcal.stats.counter import CountingDevice

__all__ = ["RunSetup", "choose_run_setup"]

# Bytes of activations that all workers may have together, however little a batch takes.
_LITTLE = 256 << 20
# Bytes of activations of one run where thousands of tensors have bins as well.
_LEAST = 96 << 20
# Of the bins of a tensor that few values of a sample are counted in, after some thousands of samples.
_BYTES_OF_BINS = 64 << 10
# With fewer runs than this for each worker, some of them would be idle for long at the end.
_LEAST_RUNS = 2
# Loading ONNX Runtime's optimised model takes as long as copying so many bytes of activations for every node, and
# for every byte of its weights (measured: ResNet-50 60 ms, YOLOX-Nano 40 ms; a copy of 1 GB 100 to 200 ms).
_BYTES_PER_NODE = 1 << 20
_BYTES_PER_WEIGHT = 4


@dataclass(frozen=True)
class RunSetup:
    """How the model is run.

    Attributes:
        workers: how many run it at a time.
        threads: inside an op, for all workers together; None for one per core.
        rows: samples that a worker runs at a time; None for a whole batch.
        any_order: whether the order of a tensor's values may be ONNX Runtime's own, see `Session`.
    """

    workers: int = 1
    threads: int | None = None
    rows: int | None = None
    any_order: bool = False

    def alive(self, batch_size: int) -> int:
        """How many samples' activations are alive together at most.

        Args:
            batch_size: samples of a batch.
        """
        return self.workers * (self.rows or batch_size)


def choose_run_setup(
    prepared: Prepared, chunking: Chunking, source: Source, options: Options, device: CountingDevice
) -> RunSetup:
    """As many workers as there are cores, where memory and the data allow that.

    Args:
        prepared: the model.
        chunking: the batch size, and the bytes of the observed tensors.
        source: the data.
        options: threads, range rule and custom ops.
        device: where activations are counted.
    """
    if device.memory:
        return RunSetup(threads=options.threads)
    any_order = _copies_cost_more(prepared, chunking, source)
    # TensorRT's rule counts one batch after the other; whether a custom op may run twice at a time, nobody knows.
    # A generator of random numbers, seeded or not, gives each run what comes next, so the runs need one order.
    random = any(map(is_random, prepared.observed.nodes))
    workers, rows = 1, None
    if options.range == "stable" and not options.ort_custom_ops and not random:
        workers, rows = _workers(chunking, source, options, device)
    if workers == 1:
        return RunSetup(threads=options.threads, rows=rows, any_order=any_order)
    # A worker computes in its own thread; threads that are left over help all of them.
    return RunSetup(workers, (options.threads or cores()) - workers + 1, rows, any_order)


def _workers(
    chunking: Chunking, source: Source, options: Options, device: CountingDevice
) -> tuple[int, int | None]:
    """How many workers, and how many samples each runs at a time; None for a batch that cannot be split."""
    batch, alive = chunking.batch_size, _samples_alive(chunking, device)
    most = options.threads or cores()
    if max(map(len, chunking.passes)) * _BYTES_OF_BINS > _LITTLE:
        # Bins of its own would take a worker more than all activations may. And ops whose outputs are so many take
        # little time each: what larger batches would save of it is not worth their memory.
        return 1, _rows_of_many(chunking) if chunking.sizes else None
    if source.feeding.verbatim or source.feeding.batch is not None:
        if source.count is not None:
            most = min(most, -(-source.count // batch) // _LEAST_RUNS)
        return max(1, min(most, alive // batch)), None
    if source.count is not None:
        most = min(most, source.count // _LEAST_RUNS)
    workers = max(1, min(most, alive))
    rows = max(1, min(batch, alive // workers))
    if source.count is not None:
        rows = max(1, min(rows, source.count // (_LEAST_RUNS * workers)))
    return workers, None if workers == 1 else rows


def _rows_of_many(chunking: Chunking) -> int:
    """How many samples to run at a time where there are thousands of tensors."""
    return max(1, min(chunking.batch_size, _samples_in(_LEAST, chunking)))


def _samples_in(nbytes: int, chunking: Chunking) -> int:
    """Of how many samples so many bytes hold the activations that a run gives out."""
    sample = max(sum(chunking.sizes[name] for name in tensors) for tensors in chunking.passes)
    return int(nbytes // max(sample, 1.0))


def _samples_alive(chunking: Chunking, device: CountingDevice) -> int:
    """How many samples' activations may be alive: as many as a batch has, or more where they are small."""
    if not chunking.sizes:
        return chunking.batch_size
    free = device.free_memory()
    little = _LITTLE if free is None else min(_LITTLE, free // 2)
    if chunking.limit is not None:
        little = min(little, chunking.limit)
    return max(chunking.batch_size, _samples_in(little, chunking))


def _copies_cost_more(prepared: Prepared, chunking: Chunking, source: Source) -> bool:
    """Whether copying activations costs more than it takes to run without; so where nobody knows."""
    if source.count is None or not chunking.sizes:
        return True
    copied = source.count * sum(chunking.sizes.values())
    weights = sum(map(tensor_nbytes, tensors_of(prepared.model.proto)))
    return copied > _BYTES_PER_WEIGHT * weights + _BYTES_PER_NODE * len(prepared.observed.nodes)
