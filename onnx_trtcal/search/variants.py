"""Measures many variants of a network on samples: what quantization does to every block of its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onnx_trtcal.search.float_network import FloatNetwork
    from onnx_trtcal.search.objective import Objective
    from onnx_trtcal.search.paired_network import PairedNetwork
    from onnx_trtcal.search.subgraph_runner import Feeds
    from onnx_trtcal.search.workers import Workers

__all__ = ["VariantMeter"]


@dataclass(frozen=True)
class VariantMeter:
    """How variants are measured.

    Attributes:
        exact: gives the outputs in floating point.
        objective: compares outputs.
        workers: run side by side.
    """

    exact: FloatNetwork
    objective: Objective
    workers: Workers

    def noise(
        self,
        network: PairedNetwork,
        scales: Sequence[Mapping[str, float]],
        samples: Sequence[int],
        feeds: Callable[[int], Feeds],
    ) -> np.ndarray:
        """The error power of every variant on every sample.

        Args:
            network: what to run.
            scales: per variant, tensor with a pair -> scale.
            samples: positions of the samples.
            feeds: what the network is fed for a sample.

        Returns:
            float64[variants, samples, blocks].
        """
        runs = [(at, variant) for at in range(len(samples)) for variant in range(len(scales))]
        fed = [feeds(sample) for sample in samples]
        found = np.zeros((len(scales), len(samples), len(self.objective.blocks)))

        def measure(chunk: Sequence[int]) -> None:
            places = [runs[k] for k in chunk]
            got = network.run([fed[at] for at, _ in places], [scales[variant] for _, variant in places])
            for (at, variant), outputs in zip(places, got, strict=True):
                exact = self.exact.floats(samples[at])
                found[variant, at] = self.objective.noise(exact, outputs)

        self.workers.map(measure, network.chunks([fed[at] for at, _ in runs]))
        return found

    def signal(self, samples: Sequence[int]) -> np.ndarray:
        """float64[samples, blocks]: the power of every block in every sample's float outputs."""
        each = self.workers.map(lambda sample: self.objective.signal(self.exact.floats(sample)), samples)
        return np.array(each).reshape(len(samples), len(self.objective.blocks))
