"""What the host passes to the counting kernel for each tensor, and what the kernel returns."""

from __future__ import annotations

# Rows of int64 table[8, tensors].
ADDRESS = 0  # of the values on the device
SIZE = 1  # how many values
FIRST = 2  # the tensor's first block; its blocks follow one another
KIND = 3  # the values' dtype, one of KINDS
ROW = 4  # which row of counts is the tensor's
LOW = 5  # bit pattern of float32: values up to it are not counted …
HIGH = 6  # … nor those above this one
PEAK = 7  # bit pattern of the value expected most often in the upper bins; 0 for none

# Rows of float32 factors[2, tensors]: a value x lies in bin x * UP * BY where bins are closed above, whose
# width is a power of two, else in bin x * UP / BY.
UP = 0
BY = 1

# Columns of uint64 state[tensors, 4], over all of a tensor's values.
TOP = 0  # bit pattern of the largest finite magnitude, as float32
ZEROS = 1
NAN = 2
INF = 3

KINDS = {"float32": 0, "float16": 1, "bfloat16": 2}
