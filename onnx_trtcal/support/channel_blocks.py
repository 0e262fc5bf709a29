"""An activation as ONNX Runtime's blocked convolutions leave it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["ChannelBlocks"]


@dataclass(frozen=True)
class ChannelBlocks:
    """An array [N, C, spatial axes] that lies in memory as [N, blocks of channels, spatial axes, channels of a block].

    Where C is not a multiple of the block, the last block is filled up with channels that are none; what they
    hold is arbitrary. Its attributes are those of the array that it stands for, without them.

    Attributes:
        values: in the order of memory, padding included.
        channels: C.
    """

    values: np.ndarray
    channels: int

    def __post_init__(self) -> None:
        if self.values.ndim < 3 or self.values.shape[1] != -(-self.channels // self.block):
            raise ValueError(f"{self.channels} channels do not lie in blocks of shape {self.values.shape}")

    @property
    def block(self) -> int:
        """Channels of a block."""
        return int(self.values.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """N, C and the spatial axes."""
        return (self.values.shape[0], self.channels, *self.values.shape[2:-1])

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return self.values.ndim - 1

    @property
    def size(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Of its values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory."""
        return self.values.nbytes

    def __getitem__(self, rows: slice) -> ChannelBlocks:
        """Consecutive rows along axis 0, in the same memory."""
        return replace(self, values=self.values[rows])

    def plain(self) -> np.ndarray:
        """A copy in the usual order of memory."""
        channels = np.moveaxis(self.values, -1, 2)  # N, blocks, channels of a block, spatial axes
        whole = channels.reshape(channels.shape[0], -1, *channels.shape[3:])
        return np.ascontiguousarray(whole[:, : self.channels])
