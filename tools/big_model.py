"""Shows the main job on a model over protobuf's limit: about 3 GB of weights, BatchNorm after every layer.

    python tools/big_model.py [--gigabytes 3] [--directory DIR] [-- FLAGS OF onnx-trtcal]

Makes a network of Conv+BatchNormalization+Relu and Gemm+BatchNormalization+Relu with external weights in a
temporary folder, calibrates it in a process of its own, and prints that process's peak memory as a multiple
of the weights. Folding changes every weight, so none can stay where it lies. The exit status is 1 when the job
fails, a BatchNorm is left, or the peak is twice the weights or more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = "weights.bin"
# Floats in one 3x3 convolution of 2048 channels, and in one square matrix of side 6144: 151 MB both.
CHANNELS, SIDE = 2048, 6144
SAMPLES = 4


@dataclass
class Network:
    """A network while it grows; its large weights go straight to a file."""

    file: Path
    random: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    end: str = "x"
    weight_bytes: int = 0

    def layer(self, op: str, name: str, shape: tuple[int, ...], **attributes: object) -> None:
        """A weighted node, a BatchNormalization and a Relu."""
        outputs = shape[1] if op == "Gemm" else shape[0]
        inputs = int(np.prod(shape)) // outputs
        self._store(f"{name}.weight", shape, (2 / inputs) ** 0.5)
        for part in ("scale", "bias", "mean", "var"):
            values = self.random.uniform(0.5, 1.5, outputs).astype(np.float32)
            self.constants.append(numpy_helper.from_array(values, f"{name}.{part}"))
        self.node(op, [self.end, f"{name}.weight"], name, **attributes)
        parameters = [f"{name}.{part}" for part in ("scale", "bias", "mean", "var")]
        self.node("BatchNormalization", [self.end, *parameters], f"{name}.bn")
        self.node("Relu", [self.end], f"{name}.relu")

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        """A node at the end of the network."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_node", **attributes))
        self.end = output

    def _store(self, name: str, shape: tuple[int, ...], spread: float) -> None:
        values = self.random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(spread)
        with self.file.open("ab") as file:
            offset = file.tell()
            file.write(values.data)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.file.name), ("offset", offset), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.constants.append(tensor)
        self.weight_bytes += values.nbytes


def main() -> int:
    arguments = sys.argv[1:]
    flags = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--directory", type=Path, help="where to put the temporary folder")
    args = parser.parse_args(arguments[: len(arguments) - len(flags) - ("--" in arguments)])
    with tempfile.TemporaryDirectory(dir=args.directory) as folder:
        started = time.perf_counter()
        weights = make_model(Path(folder), args.gigabytes * 1e9)
        print(f"made in {time.perf_counter() - started:.0f} s: {weights / 1e9:.2f} GB of weights", flush=True)
        started = time.perf_counter()
        status, peak = run_job(Path(folder), flags)
        if status:
            return 1
        print(f"peak memory {peak / 1e9:.2f} GB, {peak / weights:.2f} times the weights")
        print(f"{time.perf_counter() - started:.0f} s")
    return 0 if peak < 2 * weights else 1


def make_model(folder: Path, wanted: float) -> int:
    """Writes model.onnx, its weights and data/; returns the bytes of the weights."""
    network = Network(folder / WEIGHTS, np.random.default_rng(0))
    # From 1 GB on half of the layers are convolutions; a smaller model is a smaller network of the same kind.
    layer = CHANNELS * CHANNELS * 9 * 4
    shrink = min(1.0, (wanted / (4 * layer)) ** 0.5)
    channels, side = max(8, int(CHANNELS * shrink)), max(8, int(SIDE * shrink))
    count = max(1, round(wanted / (2 * channels * channels * 9 * 4)))
    for index in range(count):
        shape = (channels, channels, 3, 3)
        network.layer("Conv", f"conv{index}", shape, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    network.node("GlobalAveragePool", [network.end], "pool")
    network.node("Flatten", [network.end], "flat")
    for index in range(count):
        network.layer("Gemm", f"gemm{index}", (side if index else channels, side))
    graph = helper.make_graph(
        network.nodes,
        "big",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, 4, 4])],
        [helper.make_tensor_value_info(network.end, TensorProto.FLOAT, ["N", side])],
        network.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    (folder / "data").mkdir()
    for index in range(SAMPLES):
        np.save(
            folder / "data" / f"{index}.npy",
            network.random.standard_normal((channels, 4, 4), dtype=np.float32),
        )
    return network.weight_bytes


def run_job(folder: Path, flags: list[str]) -> tuple[int, int]:
    """Calibrates the model in a process of its own: its exit status, and its peak resident bytes."""
    command = [sys.executable, "-m", "onnx_trtcal", str(folder / "model.onnx"), str(folder / "data")]
    process = subprocess.Popen([*command, "-o", str(folder / "model.cache"), *flags])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
