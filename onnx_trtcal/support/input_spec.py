"""What a model wants to be fed: the one noun that graph handling and data handling share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["InputSpec"]


@dataclass(frozen=True)
class InputSpec:
    """One real input of a model (an initializer that is also a graph input is not one).

    Attributes:
        name: the graph input's name.
        dtype: element type to feed (bfloat16 and its like as `ml_dtypes` types).
        shape: one entry per axis: a number, a symbolic dimension's name, or None when nothing is known
            of that axis.
        ranked: whether the model says how many axes there are; `shape` is empty where it does not.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | str | None, ...]
    ranked: bool = True
