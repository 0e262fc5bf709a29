"""Tables of operators that placing, lint and conversion share."""

from __future__ import annotations

from onnx_trtcal.graph.ops import COPIES, MOVES

__all__ = ["COMMUTES", "INT8_CAPABLE", "READ_NO_VALUES", "TIED"]

# Ops that pass on input 0 with its scale: MaxPool's output has its input's, the others' values are the same.
TIED = MOVES | COPIES

# TensorRT swaps a Q with any of these in front of it; Concat passes it on to every branch.
COMMUTES = TIED | {"Concat", "Gather", "Slice", "Split"}

# Ops without weights that have INT8 kernels: worth a pair where the tensor is INT8 before and behind them.
INT8_CAPABLE = frozenset({"Add", "AveragePool", "GlobalAveragePool", "Resize", "Upsample"})

# These look at a tensor's size only: it is all the same to them whether its values are INT8.
READ_NO_VALUES = frozenset({"Shape", "Size"})
