"""A rewritten graph as a model file that stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_trtcal.errors import ModelError
from onnx_trtcal.graph.model.exporter import split_model
from onnx_trtcal.graph.model.external import (
    IN_MEMORY,
    Location,
    is_external,
    location,
    reference,
    tensors_of,
    write_aligned,
)
from onnx_trtcal.graph.model.order import reads
from onnx_trtcal.graph.model.written import check_written
from onnx_trtcal.support.files import atomic_file, atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model

__all__ = ["save_model"]

# Files above this leave too little room under protobuf's 2 GiB.
_FILE_BYTES = 3 << 29


def save_model(graph: gs.Graph, model: Model, path: str | Path) -> tuple[Path, ...]:
    """Writes the graph as a model that needs no file of the original, and returns the files written.

    The model is checked before the first file is written (`check_written`). Nodes whose results nothing reads
    any more are left out. Weights go into `<file name>.data` beside the model when the original kept any outside,
    or when they are too many for one file.

    Raises:
        ModelError: when `path` is one of the original's own files, or the model would not be valid; nothing is
            written then.
        CalibrationError: when a file cannot be written.
    """
    target = Path(path)
    beside = target.with_name(target.name + ".data")
    outside = [tensor for tensor in tensors_of(model.proto) if is_external(tensor)]
    _refuse_originals(model, outside, (target, beside))
    split = split_model(graph, model, inline_bytes=0 if outside else _FILE_BYTES)
    _drop_dead_nodes(split.proto.graph, model.proto.graph)
    check_written(split, model, target)
    files: tuple[Path, ...] = (target,)
    if any(is_external(tensor) for tensor in tensors_of(split.proto)):
        _write_weights(beside, split.proto, split.arrays, split.directory)
        files = (target, beside)
    atomic_write(target, split.proto.SerializeToString())
    return files


def _refuse_originals(model: Model, outside: list[onnx.TensorProto], targets: tuple[Path, ...]) -> None:
    own = {model.path.resolve()} if model.path else set()
    if model.directory is not None:
        own |= {(model.directory / location(tensor).file).resolve() for tensor in outside}
    for target in targets:
        if target.resolve() in own:
            raise ModelError(
                "this file belongs to the input model, which is never overwritten",
                where=str(target),
                fix="give another path for the output",
            )


def _drop_dead_nodes(graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
    """Removes the nodes that the original's consumers left behind; nodes it never used itself stay."""
    read_before = {name for node in original.node for name in reads(node)}
    read_before.update(value.name for value in original.output)
    while True:
        read = {name for node in graph.node for name in reads(node)} | {v.name for v in graph.output}
        dead = [
            index
            for index, node in enumerate(graph.node)
            if node.output and not read & set(node.output) and read_before & set(node.output)
        ]
        if not dead:
            break
        for index in reversed(dead):
            del graph.node[index]
    made = {name for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    # A weight may have taken the name of a tensor that a node made before.
    stale = {name for node in original.node for name in node.output} - made - (weights & read)
    stale |= weights & read_before - read
    for field in (graph.initializer, graph.input, graph.value_info):
        for index in reversed(range(len(field))):
            if field[index].name in stale:
                del field[index]


def _write_weights(
    path: Path, proto: onnx.ModelProto, arrays: Mapping[str, np.ndarray], directory: Path | None
) -> None:
    """Writes every weight that is not in the model to one file, each from a new page, and refers to it."""
    with atomic_file(path) as file:
        for tensor in tensors_of(proto):
            if not is_external(tensor):
                continue
            offset = write_aligned(file, _stored(tensor, arrays, directory))
            place = Location(path.name, offset, file.tell() - offset)
            tensor.CopyFrom(reference(tensor.name, tensor.data_type, tensor.dims, place))


def _stored(tensor: onnx.TensorProto, arrays: Mapping[str, np.ndarray], directory: Path | None) -> np.ndarray:
    """A weight's values, or the very bytes that a file holds of it."""
    place = location(tensor)
    if place.file == IN_MEMORY:
        return arrays[tensor.name]
    if directory is None or not place.length:
        return np.zeros(0, np.uint8)
    return np.memmap(directory / place.file, np.uint8, "r", place.offset, (place.length,))
