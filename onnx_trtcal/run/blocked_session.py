"""Opens a session over the model as ONNX Runtime optimises it, with activations given out as they lie in memory.

ONNX Runtime writes what it has made of a model into a folder of temporary files; the rewritten model is loaded from
there without any further optimization, so that the same nodes run with the same weights.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx

from onnx_trtcal.graph.model.external import is_external, location, tensor_nbytes, tensors_of
from onnx_trtcal.run.blocked_outputs import Origin, expose_blocks
from onnx_trtcal.support.ort_message import plain_message
from onnx_trtcal.support.ort_session import open_session
from onnx_trtcal.support.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["BlockedSession", "open_blocked"]

logger = logging.getLogger(__name__)

_CPU = ["CPUExecutionProvider"]
_MODEL, _WEIGHTS = "optimized.onnx", "weights"
_INLINE = "1024"  # bytes of a weight that stays in the model's own file
# Filling up the channels of small convolutions makes their weights larger.
_ROOM = 2


@dataclass(frozen=True)
class BlockedSession:
    """A session of the rewritten model.

    Attributes:
        session: ONNX Runtime's.
        origins: where it gives each output of the model that it was made from.
        folder: of the weights that it maps; they are gone when this is.
    """

    session: Any
    origins: tuple[Origin, ...]
    folder: TemporaryFolder


def open_blocked(model_bytes: bytes, session_options: Callable[[Path | None], Any]) -> BlockedSession | None:
    """A session on the CPU that gives out blocks of channels.

    Args:
        model_bytes: a serialised model.
        session_options: new options for the model as given, or, with a folder, for an optimised model whose
            weights are in that folder.

    Returns:
        None where that gains nothing, or ONNX Runtime's optimised model cannot be had.
    """
    proto = onnx.ModelProto.FromString(model_bytes)
    if not any(node.op_type == "Conv" for node in proto.graph.node):
        return None
    needed = sum(map(tensor_nbytes, tensors_of(proto))) * _ROOM
    try:
        folder = TemporaryFolder()
        try:
            if shutil.disk_usage(folder.path).free < needed:
                logger.debug("activations are copied: there is no room for the optimised model")
                return None
            return _open(model_bytes, session_options, folder)
        finally:
            # At once; what is mapped stays readable, except where a mapped file cannot be removed.
            if os.name != "nt":
                folder.remove()
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's own exception types are not public)
        logger.debug("activations are copied: no optimised model: %s", plain_message(str(error)))
        return None


def _open(
    model_bytes: bytes,
    session_options: Callable[[Path | None], Any],
    folder: TemporaryFolder,
) -> BlockedSession | None:
    path = folder.path / _MODEL
    options = session_options(None)
    options.optimized_model_filepath = str(path)
    # Beside the model, because the model's own file holds no more than 2 GiB.
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", _INLINE
    )
    options.add_session_config_entry("session.disable_prepacking", "1")
    open_session(model_bytes, options, _CPU)
    model = onnx.load(str(path), load_external_data=False)
    exposed = expose_blocks(model)
    if exposed is None:
        return None
    _check_whole(model, path.parent)
    session = open_session(exposed.model.SerializeToString(), session_options(path.parent), _CPU)
    return BlockedSession(session, exposed.origins, folder)


def _check_whole(model: onnx.ModelProto, folder: Path) -> None:
    """Sees that all weights are in their file, which a full disk may have cut short."""
    for tensor in filter(is_external, tensors_of(model)):
        place = location(tensor)
        if (folder / place.file).stat().st_size < place.offset + place.length:
            raise OSError(f"the weights of the optimised model are not whole: {tensor.name}")
