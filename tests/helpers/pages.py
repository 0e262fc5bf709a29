"""Pages of the report, made without a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnx_trtcal.figures import WeightRanges
from onnx_trtcal.report.page.facts import (
    Command,
    Flag,
    Page,
    Precision,
    Risk,
    TensorFacts,
    Threshold,
    Verdict,
)
from onnx_trtcal.stats.histogram import Histogram

__all__ = ["page_of", "tensor"]


def tensor(at: int, name: str = "", precision: Precision = "int8") -> TensorFacts:
    """A tensor with a histogram and thresholds; its error grows with its position."""
    values = np.abs(np.random.default_rng(at).normal(size=4000)).astype(np.float32) * (1 + at % 7)
    histogram = Histogram()
    histogram.add(values)
    amax = histogram.amax
    chosen = amax * (0.3 + 0.6 * ((at * 37) % 100) / 100)
    thresholds = (
        Threshold("entropy", chosen, 0.01, 20.0 + at % 30, chosen=True),
        Threshold("mse", 0.95 * amax, 0.001, 40.0, chosen=False),
        Threshold("minmax", amax, 0.0, 38.0, chosen=False),
    )
    return TensorFacts(
        key=f"t{at}",
        name=name or f"/block{at // 10}/conv{at % 10}/Conv_output_0",
        op="Conv",
        node=f"/block{at // 10}/conv{at % 10}/Conv",
        members=((f"/block{at // 10}/bn{at % 10}/BatchNormalization_output_0", "group"),),
        precision=precision,
        why="" if precision == "int8" else "excluded",
        scale=chosen / 127,
        threshold=chosen,
        method="entropy",
        amax=amax,
        histogram=histogram,
        values=histogram.total,
        thresholds=thresholds,
        sqnr=60.0 - 50.0 * (at / (at + 100)),
        lost=4.0 if at % 100 == 99 else 0.1,
        flags=(Flag("caution", "clipped hard", "It is."),) if at % 10 == 3 else (),
        weights=WeightRanges("w", np.full(8, -1.0), np.arange(8.0), (0,)),
    )


def page_of(*tensors: TensorFacts, model: str = "model.onnx") -> Page:
    """A page of these tensors."""
    verdict = Verdict(
        "caution",
        "Usable with care",
        "Measured on 8 samples.",
        (Risk("caution", "Something is clipped.", tensors[0].key),),
        (Command("look closer", "onnx-trtcal sensitivity model.onnx data --report r.html"),),
    )
    empty = Page(model, "8 samples", verdict, (), (), (), (), (), (), (), "", "", None, (), left_out=False)
    return replace(empty, tensors=tensors)
