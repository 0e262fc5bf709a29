"""compile_model(): NVIDIA's verdict on a model, kernel by kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from onnx_trtcal.errors import OptionError, did_you_mean, listed
from onnx_trtcal.graph.model.external import external_files
from onnx_trtcal.graph.model.functions import inline_functions
from onnx_trtcal.graph.model.nodes import layer_name, nodes_of
from onnx_trtcal.graph.model.read import read_model
from onnx_trtcal.trt.compiler.build import build
from onnx_trtcal.trt.compiler.files import on_disk
from onnx_trtcal.trt.compiler.kernels import Kernel, parse_kernels
from onnx_trtcal.trt.compiler.layers import Layer, find_layers
from onnx_trtcal.trt.compiler.model_layers import find_model_layers
from onnx_trtcal.trt.compiler.options import CompileOptions
from onnx_trtcal.trt.compiler.problems import Problem, find_problems
from onnx_trtcal.trt.compiler.summary import Summary, summarize

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Compilation", "compile_model"]


@dataclass(frozen=True)
class Compilation:
    """What NVIDIA's compiler made of a model.

    Attributes:
        model: the model's path, or a name for one in memory.
        gpu: compute capability that it was built for.
        version: version of TensorRT for RTX; empty when it crashed.
        built: whether there is an engine.
        problems: why there is none.
        layers: every Conv, ConvTranspose, Gemm and MatMul; empty when nothing was built.
        kernels: the engine's kernels, in order.
        summary: the engine in numbers; None when nothing was built.
        warnings: what the compiler warned of, each once.
        shapes: input -> the shape it was built for, for inputs whose shape the model leaves open.
        engine_bytes: size of the engine.
        seconds: how long the builder took.
    """

    model: str
    gpu: str
    version: str
    built: bool
    problems: tuple[Problem, ...]
    layers: tuple[Layer, ...]
    kernels: tuple[Kernel, ...]
    summary: Summary | None
    warnings: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    engine_bytes: int
    seconds: float

    @property
    def lost(self) -> tuple[Layer, ...]:
        """Layers with Q/DQ pairs that multiply in floating point."""
        return tuple(layer for layer in self.layers if layer.lost)

    def explained(self, reasons: Mapping[str, str]) -> Compilation:
        """The same verdicts, with the given reasons why layers have no pairs: layer -> reason."""
        layers = (
            layer if layer.has_pairs else replace(layer, why=reasons.get(layer.name) or layer.why)
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))


def compile_model(
    model: str | Path | onnx.ModelProto,
    options: CompileOptions = CompileOptions(),
    *,
    engine: str | Path | None = None,
) -> Compilation:
    """Builds a model with TensorRT for RTX's compiler, on the CPU, and tells what runs in INT8.

        >>> from onnx_trtcal import Cache, compile_model, quantize
        >>> scales = {"input": 0.01, "/fc1/relu/Relu_output_0": 0.03, "/fc2/relu/Relu_output_0": 0.04}
        >>> cache = Cache("TRT-100300-EntropyCalibration2", scales)
        >>> compiled = compile_model(quantize("models/digits_mlp.onnx", cache).proto())
        >>> [layer.precision for layer in compiled.layers]
        ['INT8', 'INT8', 'INT8']
        >>> compiled.summary.int8_share
        1.0

    Args:
        model: path of an ONNX file, or a model in memory.
        options: what to build for.
        engine: where to write the engine, which TensorRT for RTX loads on a GPU.

    Raises:
        CompilerMissingError: when the package `tensorrt-rtx-cu12` is not installed.
        ModelError: when there is no such model, it is not an ONNX model, or its external weights are missing.
        OptionError: when a shape is missing or does not fit.
        CalibrationError: when the engine cannot be written, or the log cannot be read.
    """
    source = read_model(model)
    # Nodes inside functions have no names of their own before they are inlined, as quantize does, too.
    proto = inline_functions(source.proto)
    files = external_files(proto, source.directory, source.name)
    external = {file.relative_to(source.directory): file for file in files if source.directory}
    shapes = _fitting(proto, options.shapes)
    with on_disk(model if proto is source.proto else proto, external) as path:
        built = build(path, options.gpu, shapes, options.timeout, Path(engine) if engine else None)
    problems = find_problems(built)
    kernels: tuple[Kernel, ...] = ()
    layers: tuple[Layer, ...] = ()
    summary = None
    if not problems:
        kernels = parse_kernels("\n".join(message.text for message in built.messages))
        layers = find_layers(find_model_layers(proto, shapes), kernels)
        ops = {layer_name(node): node.op_type for node in nodes_of(proto.graph)}
        summary = summarize(kernels, layers, ops)
    return Compilation(
        model=source.name,
        gpu=options.gpu,
        version=built.version,
        built=not problems,
        problems=problems,
        layers=layers,
        kernels=kernels,
        summary=summary,
        warnings=tuple(dict.fromkeys(each.text for each in built.messages if each.severity == "WARNING")),
        shapes=shapes,
        engine_bytes=built.engine_bytes or 0,
        seconds=built.seconds,
    )


def _fitting(proto: onnx.ModelProto, given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes to build for: those given, and batch 1 where only the batch is open.

    Raises:
        OptionError: when more is open, or a given shape does not fit the model.
    """
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: value for value in proto.graph.input if value.name not in stored}
    shapes = dict(given)
    for name in given:
        if name not in inputs:
            fix = did_you_mean(name, inputs) or f"its inputs are {listed(list(inputs), 10)}"
            raise OptionError(f"the model has no input {name!r}", fix=fix)
    for name, value in inputs.items():
        # Some exporters write an open dimension as -1.
        sizes = [max(dim.dim_value, 0) for dim in value.type.tensor_type.shape.dim]
        names = [dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim]
        written = "x".join(str(size or text) for size, text in zip(sizes, names, strict=True))
        if name in given:
            _check_fit(name, given[name], sizes, written, value.type.tensor_type.elem_type)
        elif not all(sizes):
            if not all(sizes[1:]):
                raise OptionError(
                    f"the input {name!r} has open dimensions beside the batch: {written}",
                    fix=f"give its shape, such as --shapes {name}:{_example(sizes)}",
                )
            shapes[name] = (1, *sizes[1:])
    return shapes


def _check_fit(name: str, given: tuple[int, ...], sizes: list[int], written: str, elem_type: int) -> None:
    # An integer input may be read as a shape, and then its values are given.
    if elem_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64) and len(sizes) <= 1:
        return
    if not sizes:
        return
    fits = len(given) == len(sizes) and all(size in (0, one) for size, one in zip(sizes, given, strict=True))
    wanted = "x".join(map(str, given))
    if not all(given):
        raise OptionError(f"--shapes makes the input {name!r} empty: {wanted}", fix="give sizes of 1 or more")
    if not fits:
        raise OptionError(f"the input {name!r} is {written} in the model, and --shapes makes it {wanted}")


def _example(sizes: list[int]) -> str:
    usual = (1, 3, 224, 224) if len(sizes) == 4 else (1, *[128] * (len(sizes) - 1))
    return "x".join(str(size or one) for size, one in zip(sizes, usual, strict=True))
