"""What runs inside a measuring process."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

from bench import ours, peers, search, search_cost
from bench.process import Spec, Timer, peak_memory

__all__ = ["CONTENDERS", "run_child"]

CONTENDERS = {
    "plain": peers.plain,
    "plain-default": peers.plain_default,
    "ours": ours.whole,
    "stages": ours.stages,
    "ort-minmax": partial(peers.ort_calibrator, method="minmax"),
    "ort-entropy": partial(peers.ort_calibrator, method="entropy"),
    "ort-percentile": partial(peers.ort_calibrator, method="percentile"),
    "modelopt": peers.modelopt,
    "rewrite": ours.rewrite,
    "first-sample": ours.first_sample,
    "our-search": search.our_search,
    "ort-search": search.ort_search,
    **{f"search-{job}": search_cost.search_job for job in search_cost.JOBS},
}


def run_child(text: str) -> None:
    """Does what a spec, as JSON, asks for, and writes `report.json` to its scratch folder."""
    spec = Spec(**json.loads(text))
    timer = Timer()
    timer.add("start", time.monotonic() - spec.born)
    peers.limit_cores(spec.threads)
    CONTENDERS[spec.who](spec, timer)
    report = {
        "seconds": timer.seconds,
        "steady": timer.steady(spec.samples),
        "cpu": time.process_time(),
        "peak": peak_memory(),
        "activations": timer.activations,
    }
    Path(spec.scratch, "report.json").write_text(json.dumps(report))
