"""The process that runs NVIDIA's compiler: a crash in there ends this process and not the caller's.

Run as a file, with the standard library and `tensorrt_rtx` only: a request comes as JSON on standard input, the log
goes as JSON lines to the request's `log`, and the answer as JSON to its `answer`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Parses and maybe builds one model; see `onnx_trtcal.trt.compiler.build` for the fields of request and answer."""
    request = json.load(sys.stdin)
    answer = Path(request["answer"])
    try:
        import tensorrt_rtx as trt
    except (ImportError, OSError) as error:
        answer.write_text(json.dumps({"unusable": str(error)}), encoding="utf-8")
        return
    with open(request["log"], "w", encoding="utf-8", buffering=1) as log:
        answer.write_text(json.dumps(_compile(trt, request, _logger(trt, log))), encoding="utf-8")


def _logger(trt: Any, log: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Passes every message on to the log file, at once: the last one tells where a crash happened."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """One message of the parser or the builder."""
            log.write(json.dumps([severity.name, message]) + "\n")

    return Log()


def _compile(trt: Any, request: dict[str, Any], logger: Any) -> dict[str, Any]:
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(request["model"])
    answer: dict[str, Any] = {
        "version": trt.__version__,
        "parsed": bool(parsed),
        "errors": [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)],
        "missing_shapes": [],
        "engine_bytes": None,
        "seconds": 0.0,
    }
    if request["parse_only"]:
        answer["network"] = _network(network) if parsed else None
    if not parsed or request["parse_only"]:
        return answer
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, request["gpu"].upper()), 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    answer["missing_shapes"] = _set_shapes(builder, network, config, request["shapes"])
    if answer["missing_shapes"]:
        return answer
    started = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    answer["seconds"] = time.monotonic() - started
    if engine is not None:
        answer["engine_bytes"] = engine.nbytes
        if request["engine"]:
            Path(request["engine"]).write_bytes(memoryview(engine))
    return answer


def _network(network: Any) -> dict[str, Any]:
    """The inputs, [name, type], and the layers, [name, kind, names of inputs, outputs]."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return {
        "inputs": [_typed(network.get_input(index)) for index in range(network.num_inputs)],
        "layers": [
            [
                layer.name,
                layer.type.name,
                [tensor.name for tensor in map(layer.get_input, range(layer.num_inputs)) if tensor],
                [_typed(layer.get_output(index)) for index in range(layer.num_outputs)],
            ]
            for layer in layers
        ],
    }


def _typed(tensor: Any) -> list[str]:
    return [tensor.name, tensor.dtype.name]


def _parser_error(error: Any) -> dict[str, Any]:
    return {
        "code": error.code().name,
        "text": error.desc(),
        "node": error.node_name(),
        "op": error.node_operator(),
        "index": error.node(),
        "function": error.func(),
    }


def _set_shapes(builder: Any, network: Any, config: Any, shapes: dict[str, list[int]]) -> list[str]:
    """One optimization profile for all inputs that need one; returns those whose shape or values nobody gave."""
    profile = builder.create_optimization_profile()
    needed, missing = False, []
    for tensor in (network.get_input(index) for index in range(network.num_inputs)):
        if not tensor.is_shape_tensor and -1 not in tuple(tensor.shape):
            continue
        needed = True
        if tensor.name not in shapes:
            missing.append(tensor.name)
            continue
        given = tuple(shapes[tensor.name])
        put = profile.set_shape_input if tensor.is_shape_tensor else profile.set_shape
        put(tensor.name, given, given, given)
    if needed and not missing:
        config.add_optimization_profile(profile)
    return missing


if __name__ == "__main__":
    main()
