"""The table that says which tensors to count, where they lie and where their bins are: a row for each."""

from __future__ import annotations

import numpy as np

__all__ = ["BFLOAT16", "COUNTERS", "FLOAT16", "FLOAT32", "LARGEST", "ROW", "UNREAD", "USABLE", "ZEROS"]

ZEROS = 16  # counters before those of the bins, of which zeros take one after the other; nobody reads them
COUNTERS = (
    np.dtype(np.uint8),
    np.dtype(np.uint16),
    np.dtype(np.uint32),
)  # what they can be, the narrowest first
LARGEST = {dtype: (1 << 8 * dtype.itemsize) - 1 for dtype in COUNTERS}  # of a counter
FLOAT32, FLOAT16, BFLOAT16 = range(3)
UNREAD = -1  # `done` of an array whose memory the kernel cannot read as it lies

USABLE = 0x101  # NumPy's flags of an array that is contiguous in row-major order, and aligned

ROW = np.dtype(
    [
        # Where the values are. The kernel finds that out itself where it is given the array object.
        ("array", np.uint64),  # address of the ndarray, 0 for none
        ("address", np.uint64),  # of the first value
        ("kind", np.int64),  # FLOAT32, FLOAT16 or BFLOAT16
        ("done", np.int64),  # the values to count: from this one …
        ("end", np.int64),  # … up to this one
        # Padding: of every `period` values, those after `full` are groups of `lanes`, of which `real` are counted.
        ("period", np.int64),
        ("full", np.int64),
        ("lanes", np.int64),
        ("real", np.int64),
        # Where they are counted, see `stats.bins`.
        ("cells", np.uint64),  # address of the counters
        ("size", np.int64),  # how many counters there are
        ("bytes", np.int64),  # of each of them: 1, 2 or 4
        ("room", np.int64),  # values that can be counted before one of more than a byte might be full
        ("limit", np.uint32),  # bit pattern of the largest magnitude that the counters reach to
        ("last", np.uint32),  # the last bin, under the rule `tensorrt`
        # A value x lies in bin ceil(x * up * by) - 1 under the rule `stable`, else in bin x * up / by.
        ("up", np.float32),
        ("by", np.float32),
        # What was seen of the values.
        ("top", np.int64),  # bit pattern of the largest finite magnitude
        ("nan", np.int64),
        ("inf", np.int64),
        ("counted", np.int64),  # finite values, zeros among them
    ],
    align=True,
)
