"""How time and memory grow with the samples, the tensors and the batch, on generated chains of convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.inputs import model_input, write_chain, write_samples
from bench.process import Spec, measure
from bench.tables import markdown, megabytes, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["scale_tables"]

RIVALS = ("plain", "ours", "ort-entropy")


@dataclass(frozen=True)
class Step:
    """One line of a table: a chain of `groups` over images of size x size, and what is fed to it."""

    axis: str
    groups: int
    size: int
    samples: int
    batch: int

    @property
    def label(self) -> str:
        return str({"samples": self.samples, "tensors": self.groups, "batch": self.batch}[self.axis])


def scale_tables(folder: Path, threads: int, say: Callable[[str], None], *, quick: bool) -> str:
    """Measures each series and returns its table.

    Args:
        folder: for what is generated.
        threads: CPU threads of every process.
        say: receives a line after each step.
        quick: shorter series, to see that everything works.
    """
    counts, depths, sizes = ((8, 16), (5,), (4,)) if quick else ((64, 256, 1024), (50, 200, 1000), (1, 8, 32))
    series = (
        [Step("samples", 16, 32, count, 8) for count in counts],
        [Step("tensors", depth, 16, counts[0], 8) for depth in depths],
        [Step("batch", 16, 64, counts[0], size) for size in sizes],
    )
    return "\n\n".join(_series(steps, folder, threads, say) for steps in series)


def _series(steps: Sequence[Step], folder: Path, threads: int, say: Callable[[str], None]) -> str:
    most = max(step.samples for step in steps)
    rows = []
    for step in steps:
        model = folder / f"chain{step.groups}x{step.size}.onnx"
        if not model.exists():
            write_chain(model, step.groups, size=step.size)
        name, shape, _ = model_input(model)
        data = folder / f"{step.size}x{most}"
        if not data.exists():
            write_samples(data, most, shape)
        reports = {
            who: measure(Spec(who, str(model), str(data), name, step.samples, step.batch, threads))
            for who in RIVALS
        }
        say(f"{step.axis} {step.label}: " + ", ".join(f"{who} {reports[who].wall:.1f} s" for who in RIVALS))
        plain, ours = reports["plain"], reports["ours"]
        rows.append(
            [
                step.label,
                *(number(1 / reports[who].steady) for who in RIVALS),
                number(plain.steady / ours.steady),
                *(megabytes(reports[who].peak) for who in RIVALS),
            ]
        )
    fixed = {"samples": "samples", "tensors": "groups", "batch": "batch"}
    columns = (
        fixed[steps[0].axis], "plain, samples/s", "ours, samples/s", "ORT Entropy, samples/s", "ours × plain",
        "plain, peak RSS MB", "ours, peak RSS MB", "ORT Entropy, peak RSS MB",
    )  # fmt: skip
    return markdown(columns, rows)
