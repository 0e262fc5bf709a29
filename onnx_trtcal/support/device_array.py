"""An activation that stays in a device's memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from onnx_trtcal.support.channel_blocks import ChannelBlocks

__all__ = ["Activation", "DeviceArray"]


@dataclass(frozen=True)
class DeviceArray:
    """A contiguous array in row-major order in a device's memory.

    Attributes:
        address: of its first value on the device.
        shape: its dimensions.
        dtype: of its values; bfloat16 is `ml_dtypes`'s.
        owner: holds the memory for as long as this array lives.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    owner: object

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> DeviceArray:
        """Consecutive rows along axis 0, in the same memory."""
        begin, end, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("only consecutive rows of a device array can be taken")
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        shape = (max(end - begin, 0), *self.shape[1:])
        return replace(self, address=self.address + begin * row, shape=shape)


Activation = np.ndarray | ChannelBlocks | DeviceArray
