"""Where a thread block of the counting kernel keeps its bins."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "LAYOUTS", "TALLIES", "Layout"]

SHARED_MEMORY = 48 << 10  # bytes a block gets on every GPU without asking for more, which numba cannot
TALLIES = 5  # words of shared memory besides the window


@dataclass(frozen=True)
class Layout:
    """How a block counts: its lowest bins in a window of shared memory, the others in the device's memory.

    The stable range is less than twice amax, so a window over its lower half misses only values above half
    of amax, of which most activations have few.

    Attributes:
        slots: bins in the window, from bin 0 up; 0 for no window.
        packed: whether two 16-bit counters share a 32-bit word, which doubles what the window holds.
        span: values that a block counts before it adds its window to the device's memory. It is below 2**16
            where counters are packed, so that none can overflow.
        threads: of a block, a multiple of 32.
    """

    slots: int
    packed: bool
    span: int
    threads: int = 512

    def __post_init__(self) -> None:
        if 4 * (self.words + TALLIES) > SHARED_MEMORY or self.slots % 2:
            raise ValueError(f"a window of {self.slots} bins does not fit into a block's shared memory")
        if not 0 < self.span < (1 << 16 if self.packed else 1 << 31):
            raise ValueError(f"a counter could overflow over a span of {self.span}")
        if self.threads < TALLIES:
            raise ValueError(f"{self.threads} threads cannot clear {TALLIES} words at once")

    @property
    def words(self) -> int:
        """32-bit words of the window; one where there is none, because shared arrays may not be empty."""
        return max(self.slots >> self.packed, 1)


LAYOUTS = {
    "global": Layout(slots=0, packed=False, span=1 << 16),
    "words": Layout(slots=8192, packed=False, span=1 << 18),
    "halves": Layout(slots=16384, packed=True, span=61_440),
    "wide": Layout(slots=24_448, packed=True, span=61_440),
}
# The lower half of the range in 32 KiB, so that a multiprocessor of 64 KiB still runs two blocks at a time.
DEFAULT = "halves"
