"""The counting kernel alone: nanoseconds a value by what the values are, and microseconds a tensor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.tables import markdown, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

__all__ = ["kernel_tables"]

SIZES = (2048, 16_384, 100_000, 6_400_000)
TENSORS = 200
OF_EACH = (64, 2048, 16_384, 65_536)
BINS = 2048  # of numpy.histogram


def kernel_tables(say: Callable[[str], None], *, quick: bool) -> str:
    """Measures one thread, in processor time, the best of several times.

    Args:
        say: receives a line of progress at each step.
        quick: fewer repetitions, to see that everything works.
    """
    import numpy as np

    times = 2 if quick else 12
    rows = []
    for size in SIZES[: 2 if quick else None]:
        for who, count in (("ours", _ours), ("numpy.histogram", _numpy)):
            timed = {name: count({"x": values}, times) / size * 1e9 for name, values in _values(size).items()}
            rows.append([f"{size} values, {who}", *map(number, timed.values())])
            say(f"{size} values: {who}")
    one = markdown(("ns a value", *_values(2)), rows)
    random = np.random.default_rng(0)
    rows = []
    for size in OF_EACH:
        arrays = {str(k): np.maximum(random.standard_normal(size, np.float32), 0) for k in range(TENSORS)}
        rows.append([str(size), number(_ours(arrays, times) / TENSORS * 1e6)])
        say(f"{TENSORS} tensors of {size} values")
    return f"{one}\n\n{markdown((f'values in each of {TENSORS} tensors', 'µs a tensor'), rows)}"


def _values(size: int) -> Mapping[str, np.ndarray]:
    """Activations such as networks have them, float32."""
    import numpy as np

    normal = np.random.default_rng(1).standard_normal(size, np.float32)
    narrow = normal * np.float32(1e-3)
    narrow[0] = 1
    return {
        "relu": np.maximum(normal, 0),
        "normal": normal,
        "relu6": np.clip(4 * normal, 0, 6),
        "silu": normal / (1 + np.exp(-normal)),
        "narrow": narrow,
        "constant": np.full(size, 0.75, np.float32),
    }


def _ours(arrays: Mapping[str, np.ndarray], times: int) -> float:
    """Seconds that a batch takes once the ranges are known."""
    from onnx_trtcal.stats.histogram import Histogram
    from onnx_trtcal.stats.host import HostCounter

    counter = HostCounter({name: Histogram() for name in arrays})
    for _ in range(3):
        counter.add(arrays)
    return _best(lambda: counter.add(arrays), arrays, times)


def _numpy(arrays: Mapping[str, np.ndarray], times: int) -> float:
    import numpy as np

    def count() -> None:
        for values in arrays.values():
            np.histogram(np.abs(values), BINS)

    return _best(count, arrays, max(times // 4, 1))


def _best(count: Callable[[], object], arrays: Mapping[str, np.ndarray], times: int) -> float:
    repeat = max(1, min(200, 1_000_000 // sum(values.size for values in arrays.values())))
    found = []
    for _ in range(times):
        begin = time.thread_time()
        for _ in range(repeat):
            count()
        found.append((time.thread_time() - begin) / repeat)
    return min(found)
