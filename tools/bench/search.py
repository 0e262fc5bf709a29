"""The entropy search alone: ours against ONNX Runtime's, each on a histogram of 2048 bins."""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.process import Spec, Timer

__all__ = ["ort_search", "our_search"]

VALUES = 1 << 20
TENSORS = 20
BINS, LEVELS = 2048, 128


def our_search(_: Spec, timer: Timer) -> None:
    """Mean over some tensors, in one thread, after a first call that loads the compiled code."""
    import numpy as np

    from onnx_trtcal.methods import parse_method
    from onnx_trtcal.stats.histogram import Histogram

    histograms = []
    for seed in range(TENSORS):
        histogram = Histogram("stable")
        histogram.add(np.random.default_rng(seed).laplace(size=VALUES).astype(np.float32))
        histograms.append(histogram)
    entropy = parse_method("entropy")
    entropy.solve(histograms[0])
    begin = time.perf_counter()
    for histogram in histograms:
        entropy.solve(histogram)
    timer.add("search", (time.perf_counter() - begin) / TENSORS)


def ort_search(_: Spec, timer: Timer) -> None:
    """`get_entropy_threshold` on one tensor: its bins are signed, so that it tries 961 thresholds where we try 1921."""
    import numpy as np
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector(
        "entropy",
        symmetric=False,
        num_bins=BINS,
        num_quantized_bins=LEVELS,
        percentile=99.999,
        scenario="same",
    )
    values = np.random.default_rng(0).laplace(size=VALUES).astype(np.float32)
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"x": values})
    begin = time.perf_counter()
    collector.get_entropy_threshold(collector.histogram_dict["x"], LEVELS)
    timer.add("search", time.perf_counter() - begin)
