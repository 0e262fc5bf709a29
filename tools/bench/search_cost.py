"""What the methods that run the model, rounding and `tune` take, beside a run that collects histograms alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.process import Spec, measure
from bench.tables import markdown, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compare.cases import Case

    from bench.process import Timer

__all__ = ["JOBS", "bundled", "search_job", "search_table"]

JOBS = ("collect", "auto", "easyquant", "round", "tune")
MODELS = Path(__file__).resolve().parents[2] / "models"


@dataclass(frozen=True)
class Bundled:
    """A model of this repository, as a case."""

    name: str
    model: str
    calibration: str
    test: str
    batch: int = 8


def bundled() -> list[Bundled]:
    """The bundled models."""
    mlp = Bundled(
        "digits_mlp",
        str(MODELS / "digits_mlp.onnx"),
        str(MODELS / "digits_calib.npy"),
        str(MODELS / "digits_test.npy"),
    )
    resnet = Bundled(
        "digits_resnet",
        str(MODELS / "digits_resnet.onnx"),
        str(MODELS / "digits_calib"),
        str(MODELS / "digits_test"),
    )
    return [mlp, resnet]


def search_table(
    cases: Sequence[Case | Bundled], jobs: Sequence[str], threads: int, say: Callable[[str], None]
) -> str:
    """Measures every job on every case, each in a process of its own, and returns the table.

    Args:
        cases: models and data.
        jobs: some of JOBS; `collect`, which the others are told as multiples of, is measured in any case.
        threads: CPU threads of every process.
        say: receives a line after each measurement.
    """
    rows = []
    for case in cases:
        found: dict[str, tuple[float, float]] = {}
        for job in dict.fromkeys(("collect", *jobs)):
            spec = Spec(
                f"search-{job}",
                case.model,
                case.calibration,
                batch=case.batch,
                threads=threads,
                test=case.test,
            )
            seconds = measure(spec).seconds
            found[job] = seconds["wall"], seconds["cpu"]
            say(f"{case.name}, {job}: {seconds['wall']:.2f} s, {seconds['cpu']:.2f} s of CPU")
        wall, cpu = found.pop("collect")
        cells = [
            f"{number(mine)} (×{number(mine / wall)}, CPU ×{number(of_cpu / cpu)})"
            for mine, of_cpu in found.values()
        ]
        rows.append([case.name, number(wall), *cells])
    return markdown(("model", "collect, s", *(f"{job}, s" for job in jobs if job != "collect")), rows)


def search_job(spec: Spec, timer: Timer) -> None:
    """One job, through the public API, after a run over two samples that loads and compiles what all jobs need."""
    from dataclasses import replace

    from onnx_trtcal import Options, QdqOptions, TuneOptions, calibrate, quantize, tune

    job = spec.who.removeprefix("search-")
    options = Options(method="entropy", provider="cpu", batch_size=spec.batch, threads=spec.threads)
    calibrate(spec.model, spec.data, replace(options, max_samples=2))
    wall, cpu = time.perf_counter(), time.process_time()
    if job == "collect":
        calibrate(spec.model, spec.data, options)
    elif job == "round":
        quantize(spec.model, spec.data, options, QdqOptions(round=True))
    elif job == "tune":
        asked = TuneOptions(options=replace(options, method=None), max_drop=0.0, max_float=0.0, compile=False)
        tune(spec.model, spec.data, spec.test, asked)
    else:
        calibrate(spec.model, spec.data, replace(options, method=job))
    timer.add("wall", time.perf_counter() - wall)
    timer.add("cpu", time.process_time() - cpu)
