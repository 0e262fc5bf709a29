"""What a run is going to take, said while there is still time to choose otherwise."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CalibrationError, OptionError
from onnx_trtcal.support.memory import available_memory, free_swap, peak_memory
from onnx_trtcal.support.wording import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx_trtcal.counting.chunking import Chunking
    from onnx_trtcal.data.batching import Batch
    from onnx_trtcal.stats.counter import CountingDevice
    from onnx_trtcal.support.progress import Listener

__all__ = ["Forecast", "check_fits", "memory_told"]

# Less than this is nobody's surprise.
_LONG = 30.0
_LARGE = 1 << 30
_STEADY = 2.0  # seconds behind the first batch, which compiles and warms up
_TENSOR_BYTES = 70_000  # of a histogram in a checkpoint, with counts of up to four digits
_SAMPLE_BYTES = 75  # of a sample in it, besides its name


def check_fits(chunking: Chunking, device: CountingDevice, *, batch_is_fixed: bool) -> None:
    """Refuses a run of which one batch of activations cannot fit into memory, as far as shapes tell.

    Args:
        chunking: how the work is split up.
        device: where activations stay until they are counted.
        batch_is_fixed: whether the model dictates the batch size.

    Raises:
        OptionError: saying how much there is, and which flag makes it fit.
    """
    free = device.free_memory()
    if free is None or not chunking.sizes:
        return
    free += 0 if device.memory else free_swap()
    sample = max(sum(chunking.sizes[name] for name in tensors) for tensors in chunking.passes)
    wanted = sample * chunking.batch_size
    if wanted <= free:
        return
    largest = max(chunking.sizes.values()) * (chunking.batch_size if batch_is_fixed else 1)
    fix = "the largest of them alone does not fit: use a machine with more memory"
    if largest <= free // 2:
        fix = f"--memory-limit {free >> 21 or 1}M makes it fit"
        if not batch_is_fixed and sample <= free // 2:
            fix += f", and so does --batch-size {int(free // 2 // sample)}"
    raise OptionError(
        f"the activations of a batch of {chunking.batch_size} take {size(wanted)}, and {size(free)} of memory are "
        "free",
        fix=fix,
    )


@contextlib.contextmanager
def memory_told(work: str) -> Iterator[None]:
    """Makes one of the package's own errors of memory that runs out.

    Args:
        work: what was going on then, as "while …".

    Raises:
        CalibrationError: saying which flags take less.
    """
    try:
        yield
    except MemoryError as error:
        free = available_memory()
        raise CalibrationError(
            f"memory ran out {work}" + ("" if free is None else f", with {size(free)} free"),
            fix="--batch-size 1 or --memory-limit takes less, as --memory-limit 500M; --item-axis 0 saves the trial "
            "of what an item of the data is",
        ) from error


class Forecast:
    """Says, soon after its first batch, how long a run will take, how much memory, and how much room on the disk.

    Args:
        total: how many samples there are; None when that is not known.
        tensors: how many are observed.
        checkpoint: the file of the run's checkpoint; None without one.
        listener: receives it, unless it is too little to speak of.
    """

    def __init__(self, total: int | None, tensors: int, checkpoint: Path | None, listener: Listener) -> None:
        self._total = total
        self._tensors = tensors
        self._checkpoint = checkpoint
        self._listener = listener
        self._first: float | None = None
        self._since = 0
        self._said = False

    def note(self, batch: Batch, counted: int) -> None:
        """Notes that one more batch is counted.

        Args:
            batch: that one.
            counted: how many samples are counted now.
        """
        if self._said:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = now
            self._check_disk(batch, counted)
            return
        self._since += batch.count
        if now - self._first >= _STEADY:
            self._said = True
            self._say((now - self._first) / self._since, counted)

    def _check_disk(self, batch: Batch, counted: int) -> None:
        if self._checkpoint is None:
            return
        longest = max(len(name) for name in batch.names)
        samples = (self._total or counted) * (longest + _SAMPLE_BYTES)
        # While a checkpoint replaces the one before it, there are both.
        needed = 2 * self._tensors * _TENSOR_BYTES + samples
        try:
            free = shutil.disk_usage(self._checkpoint.absolute().parent).free
        except OSError:
            return
        if free < needed:
            self._listener.warn(
                f"the checkpoint of this run may take {size(needed)}, and {size(free)} are free in "
                f"{self._checkpoint.parent}: give another -o, or make room there"
            )

    def _say(self, per_sample: float, counted: int) -> None:
        peak = peak_memory()
        left = None if self._total is None else (self._total - counted) * per_sample
        parts = []
        if left is not None and left >= _LONG:
            parts.append(f"about {duration(left)}")
        if peak is not None and peak >= _LARGE:
            parts.append(f"{size(peak)} of memory (--memory-limit or a smaller --batch-size takes less)")
        if parts:
            self._listener.say(f"this run will take {' and '.join(parts)}")
