"""Lets other INT8 tools quantize models, for `tools/compiler_table.py --peer NAME=FOLDER`.

    python tools/compiler_peers.py FOLDER MODEL.onnx[@input:1x3x48x192] ... [--modelopt VENV/bin/python]
        [--tool modelopt_fp32 ...] [--timeout 600]

Writes FOLDER/TOOL/MODEL.onnx, or FOLDER/TOOL/MODEL.failed with the reason where a tool gives up or takes too long;
what is there already is not made again. The tools run with their default settings on random data: what the compiler
does depends on where pairs are and which scales are equal, not on their values. Shapes of several inputs follow one
another: MODEL.onnx@input:1x512@state:2x1x128.

| tool | what it is |
|---|---|
| `modelopt_fp32`, `modelopt_fp16` | NVIDIA ModelOpt, INT8, by what stays in floating point; needs `--modelopt` |
| `ort` | ONNX Runtime's `quantize_static`, symmetric and per channel as TensorRT demands, bias quantized |
| `ort_float_bias` | the same with QuantizeBias=False |
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOLS = ("modelopt_fp32", "modelopt_fp16", "ort", "ort_float_bias")
_SAMPLES = 2


def main() -> None:
    """Makes the files that are not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
    parser.add_argument("models", nargs="*", metavar="MODEL[@input:1x3x48x192]")
    parser.add_argument("--modelopt", metavar="PYTHON", help="interpreter that can import modelopt")
    parser.add_argument("--tool", action="append", choices=TOOLS, help="this one only (repeatable)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one file (default 600)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _child(**json.loads(args.child))
        return
    if not args.models:
        parser.error("give FOLDER and models")
    wanted = args.tool or [tool for tool in TOOLS if args.modelopt or not tool.startswith("modelopt")]
    models = [
        str(Path(path).resolve()) + at + shapes
        for path, at, shapes in (m.partition("@") for m in args.models)
    ]
    for tool in wanted:
        folder = (args.folder / tool).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        asked = {"tool": tool, "folder": str(folder), "models": models, "timeout": args.timeout}
        python = args.modelopt if tool.startswith("modelopt") else sys.executable
        command = [python, str(Path(__file__).resolve()), "--child", json.dumps(asked)]
        subprocess.run(command, check=True)


def _child(tool: str, folder: str, models: Sequence[str], timeout: float) -> None:
    """One tool on all models: it is loaded once, and every model is quantized in a fork of its own."""
    if tool.startswith("modelopt"):
        import modelopt.onnx.quantization  # noqa: F401 (loaded for the forks)
    else:
        import onnxruntime.quantization  # noqa: F401 (loaded for the forks)
    for text in models:
        path, _, shapes = text.partition("@")
        made = Path(folder, Path(path).name)
        failed = made.with_suffix(".failed")
        if made.exists() or failed.exists():
            continue
        with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
            output, reason = Path(scratch, "quantized.onnx"), Path(scratch, "reason")
            fork = multiprocessing.get_context("fork").Process(
                target=_quantize, args=(tool, path, shapes, output, reason)
            )
            fork.start()
            fork.join(timeout)
            if fork.is_alive():
                fork.kill()
                fork.join()
                reason.write_text(f"not done after {timeout:g} s")
            elif not reason.exists() and not output.exists():
                reason.write_text(f"it ended with {fork.exitcode} and wrote no model")
            shutil.copy(*((reason, failed) if reason.exists() else (output, made)))
            what = reason.read_text() if reason.exists() else "written"
        print(f"{made.stem}\t{tool}\t{what}", flush=True)


def _quantize(tool: str, model: str, shapes: str, output: Path, reason: Path) -> None:
    import onnx

    os.chdir(output.parent)  # they leave files where they are
    for stream in (1, 2):  # the tools tell their progress
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    try:
        copy = str(output.with_name("model.onnx"))
        proto = onnx.load(model)
        # Before IR 4 every stored tensor had to be a graph input as well, which not all models and tools heed.
        proto.ir_version = max(proto.ir_version, 8)
        onnx.save(proto, copy)
        feeds = [_random_feed(proto, shapes, seed) for seed in range(_SAMPLES)]
        if tool.startswith("modelopt"):
            _modelopt(copy, feeds, tool.removeprefix("modelopt_"), str(output))
        else:
            _ort(copy, feeds, str(output), quantize_bias=tool == "ort")
    except Exception as error:  # noqa: BLE001 (the tools' own types: whatever it is, it is the row's reason)
        reason.write_text(f"{type(error).__name__}: {' '.join(str(error).split())}"[:200])


def _random_feed(proto: Any, shapes: str, seed: int) -> dict[str, Any]:
    """Values of every input: uniform between -1 and 1, or 0 and 1 in turn for integers; open dimensions are 1."""
    import numpy as np
    import onnx

    given = {}
    for shape in filter(None, shapes.split("@")):
        name, _, text = shape.rpartition(":")
        given[name] = [int(size) for size in text.split("x")]
    stored = {tensor.name for tensor in proto.graph.initializer}
    random = np.random.default_rng(seed)
    feed = {}
    for value in proto.graph.input:
        if value.name in stored:
            continue
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        declared = [dim.dim_value if dim.dim_value > 0 else 1 for dim in value.type.tensor_type.shape.dim]
        sizes = given.get(value.name, declared)
        if kind.kind in "iub":
            feed[value.name] = (np.arange(int(np.prod(sizes))).reshape(sizes) % 2).astype(kind)
        else:
            feed[value.name] = random.uniform(-1, 1, sizes).astype(kind)
    return feed


class _Reader:
    """A CalibrationDataReader over a few samples."""

    def __init__(self, feeds: Sequence[dict[str, Any]]) -> None:
        self._feeds = feeds
        self.rewind()

    def rewind(self) -> None:
        """Begins again."""
        self._left = iter(self._feeds)

    def get_first(self) -> dict[str, Any]:
        """The first sample."""
        return self._feeds[0]

    def get_next(self) -> dict[str, Any] | None:
        """The next sample; None behind the last."""
        return next(self._left, None)

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._left)


def _ort(model: str, feeds: Sequence[dict[str, Any]], output: str, *, quantize_bias: bool) -> None:
    """quantize_static as its documentation shows, on a model prepared by quant_pre_process where that succeeds."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    def quantized(prepared: str) -> None:
        quantize_static(
            prepared,
            output,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_providers=["CPUExecutionProvider"],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": quantize_bias,
            },
        )

    try:
        quantized(_prepared(model))
    except Exception:  # noqa: BLE001 (what is prepared may not be a model that runs)
        quantized(model)


def _prepared(model: str) -> str:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = f"{model}.prepared.onnx"
    try:
        quant_pre_process(model, path)
    except Exception:  # noqa: BLE001 (symbolic shape inference fails in many ways)
        quant_pre_process(model, path, skip_symbolic_shape=True)
    return path


def _modelopt(model: str, feeds: Sequence[dict[str, Any]], precision: str, output: str) -> None:
    from modelopt.onnx.quantization import quantize

    quantize(
        model,
        quantize_mode="int8",
        calibration_method="max",
        calibration_data_reader=_Reader(feeds),
        calibration_eps=["cpu"],
        high_precision_dtype=precision,
        output_path=output,
    )


if __name__ == "__main__":
    main()
