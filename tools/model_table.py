"""Prints what folding, fusing and planning make of every model in a directory, one row each.

    python tools/model_table.py DIRECTORY [--feed NAME=VALUE ...] [--tolerance 1e-3]

Each model is run on random data as it is and folded; the largest difference over all remaining float tensors
stands in the table, relative to the largest magnitude of the tensor. A model that cannot be used gives the
error's first line. The exit status is 1 when a difference is over the tolerance (ten times that for float16
models), or when anything but one of the package's own errors comes up.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_trtcal.errors import CalibrationError, ModelError
from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import Prepared, prepare
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx_trtcal.support.input_spec import InputSpec

# Sizes to try for axes that the model leaves open: one of them fits most models.
SIZES = (64, 512, 224, 32, 1)
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
COLUMNS = (
    "model",
    "nodes",
    "BatchNorm",
    "folded",
    "left",
    "observed",
    "answered",
    "skipped",
    "difference",
    "seconds",
)


@dataclass(frozen=True)
class Row:
    """A line of the table, and whether it is as it should be."""

    cells: tuple[str, ...]
    good: bool


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--feed", action="append", default=[], metavar="NAME=VALUE", help="value of a scalar input"
    )
    parser.add_argument("--tolerance", type=float, default=1e-3)
    args = parser.parse_args()
    given = {name: float(value) for name, value in (item.rsplit("=", 1) for item in args.feed)}
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    good = True
    for path in sorted(args.directory.rglob("*.onnx")):
        row = make_row(path, given, args.tolerance)
        print("| " + " | ".join((str(path.relative_to(args.directory)), *row.cells)) + " |", flush=True)
        good &= row.good
    return 0 if good else 1


def make_row(path: Path, given: Mapping[str, float], tolerance: float) -> Row:
    """The row of one model."""
    started = time.perf_counter()
    try:
        prepared = prepare(path, Options(allow_quantized=True))
        seconds = time.perf_counter() - started
        difference, worst = compare(prepared, given)
    except CalibrationError as error:
        return Row((*[""] * 7, f"refused: {error.what.splitlines()[0][:100]}", ""), good=True)
    except Exception:  # noqa: BLE001 (the table continues with the next model)
        traceback.print_exc()
        return Row((*[""] * 7, "CRASH", ""), good=False)
    plan, folds = prepared.plan, prepared.folds
    normalizations = sum(item.op == "BatchNormalization" for item in folds.folded)
    others = len(folds.folded) - normalizations
    reasons = Counter(reason for _, reason in folds.left)
    left = "; ".join(f"{count} {reason}" for reason, count in reasons.items()) or "0"
    skipped = (
        ", ".join(f"{count} {reason}" for reason, count in Counter(plan.skipped.values()).items()) or "0"
    )
    unaccounted = float_tensors(prepared) - {*plan.owners, *plan.skipped}
    half = TensorProto.FLOAT16 in prepared.model.elem_types.values()
    return Row(
        (
            str(len(prepared.model.proto.graph.node)),
            str(normalizations + len(folds.left)),
            f"{normalizations} and {others} per-channel Add, Sub, Mul, Div"
            if others
            else str(normalizations),
            left,
            str(len(plan.observed)),
            str(len(plan.owners)) + (f", MISSING {sorted(unaccounted)[:3]}" if unaccounted else ""),
            skipped,
            f"{difference:.1e}" + (f" ({worst})" if difference > tolerance else ""),
            f"{seconds:.2f}",
        ),
        difference <= tolerance * (10 if half else 1) and not unaccounted,
    )


def float_tensors(prepared: Prepared) -> set[str]:
    """Every float tensor of the original that is an input or a node's output."""
    model = prepared.model
    names = {spec.name for spec in model.inputs}
    names.update(name for node in model.proto.graph.node for name in node.output if name)
    return {name for name in names if model.elem_types.get(name) in FLOATS}


def compare(prepared: Prepared, given: Mapping[str, float]) -> tuple[float, str]:
    """The largest difference between folded and original, relative to the tensor's largest magnitude."""
    original = import_graph(prepared.model)
    remaining = prepared.folded.tensors()
    constants = prepared.plan.constants
    names = [
        name
        for name in prepared.plan.owners
        if name in remaining and name not in constants and name in original.tensors()
    ]
    cpu = Provider("cpu", "")
    sessions = [Session(probe(graph, prepared.model, names), cpu) for graph in (original, prepared.folded)]
    feeds, first = _first_that_runs(sessions[0], prepared.model.inputs, given)
    worst, tensor = 0.0, ""
    for name, want, got in zip(names, first, sessions[1].run(feeds, "random"), strict=True):
        a, b = want.astype(np.float64), got.astype(np.float64)
        both = np.isfinite(a) & np.isfinite(b)
        # Sigmoid and its like err by 1e-7 absolutely, which says nothing about a tensor that is all but zero.
        size = max(float(np.abs(a[both]).max(initial=0)), 1e-3)
        difference = float(np.abs(a - b)[both].max(initial=0)) / size
        if difference > worst:
            worst, tensor = difference, name
    return worst, tensor


def _first_that_runs(
    session: Session, inputs: Sequence[InputSpec], given: Mapping[str, float]
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    for feeds in _candidates(inputs, given):
        try:
            return feeds, session.run(feeds, "random")
        except ModelError as error:
            refusal = error
    raise refusal


def _candidates(inputs: Sequence[InputSpec], given: Mapping[str, float]) -> Iterator[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    for size, batch in itertools.product(SIZES, (2, 1)):
        feeds = {}
        for spec in inputs:
            shape = [
                dim if isinstance(dim, int) and dim > 0 else _open_size(axis, dim, size, batch)
                for axis, dim in enumerate(spec.shape)
            ]
            if spec.name in given:
                feeds[spec.name] = np.full(shape, given[spec.name], spec.dtype)
            elif np.issubdtype(spec.dtype, np.integer) or spec.dtype == np.bool_:
                feeds[spec.name] = random.integers(0, 2, shape).astype(spec.dtype)
            else:
                feeds[spec.name] = random.uniform(-1, 1, shape).astype(spec.dtype)
        yield feeds


def _open_size(axis: int, dim: int | str | None, size: int, batch: int) -> int:
    return batch if axis == 0 or "batch" in str(dim).lower() else size


if __name__ == "__main__":
    sys.exit(main())
