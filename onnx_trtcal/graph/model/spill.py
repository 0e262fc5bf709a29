"""Large weights that folding made, moved out of memory into a temporary file that sessions map.

A session copies every array it is given, but maps weights that lie in a file. Without this a model of 3 GB
whose BatchNorm all folds would take its own size twice over and more.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_graphsurgeon.exporters.onnx_exporter import dtype_to_onnx
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnx_trtcal.graph.model.external import (
    Location,
    is_external,
    location,
    reference,
    tensors_of,
    write_aligned,
)
from onnx_trtcal.graph.model.split import INLINE_BYTES, SMALL_BYTES
from onnx_trtcal.graph.model.weights import SpilledValues, Weight
from onnx_trtcal.support.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from onnx_trtcal.graph.model.load import Model

__all__ = ["spill"]

_FILE = "folded weights"


def spill(graph: gs.Graph, model: Model, inline_bytes: int = INLINE_BYTES) -> bool:
    """Moves the large new weights of a graph into a temporary file when they exceed `inline_bytes` together.

    The file goes where temporary files go (`TMPDIR`), see `TemporaryFolder`. Where there is no room for it the weights
    stay as they are.

    Returns:
        Whether they were moved.
    """
    large = _large_arrays(graph)
    if sum(constant.values.nbytes for constant in large) <= inline_bytes:
        return False
    folder = None
    try:
        folder = TemporaryFolder()
        name = _bring_originals(model, folder.path)
        places = _write(large, folder.path / name)
    except OSError:
        if folder is not None:
            folder.remove()
        return False
    for constant, place in zip(large, places, strict=True):
        values = constant.values
        tensor = reference(constant.name, dtype_to_onnx(values.dtype), values.shape, place)
        constant.values = SpilledValues(tensor, folder)
    return True


def _large_arrays(graph: gs.Graph) -> list[Weight]:
    found: dict[str, Weight] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            if (
                isinstance(tensor, Weight)
                and not isinstance(tensor._values, LazyValues)
                and tensor.values.nbytes >= SMALL_BYTES
            ):
                found.setdefault(tensor.name, tensor)
    return list(found.values())


def _bring_originals(model: Model, folder: Path) -> str:
    """Links the model's external files into the folder, for a session looks into one only; a free name there."""
    directory = model.directory or Path()
    for file in {location(tensor).file for tensor in tensors_of(model.proto) if is_external(tensor)}:
        source, target = (directory / file).resolve(), folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        # ONNX Runtime refuses symbolic links that lead out of the folder.
        with suppress(OSError):
            os.link(source, target)
            continue
        shutil.copyfile(source, target)
    name = _FILE
    while (folder / name).exists():
        name += "_"
    return name


def _write(constants: list[Weight], path: Path) -> list[Location]:
    places = []
    with path.open("wb") as file:
        for constant in constants:
            offset = write_aligned(file, constant.values)
            places.append(Location(path.name, offset, file.tell() - offset))
    return places
