"""The options of every ONNX Runtime session that the package makes.

ONNX Runtime is imported when the first options are made.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from onnx_trtcal.errors import ModelError
from onnx_trtcal.support.ort_message import plain_message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["session_options"]


def session_options(
    *,
    threads: int | None = None,
    custom_ops: Sequence[str] = (),
    weights_folder: Path | None = None,
    optimize: bool = True,
) -> Any:
    """A new `onnxruntime.SessionOptions`, to which the caller may add what only its own session needs.

    Args:
        threads: CPU threads inside an op; None for one per core.
        custom_ops: shared libraries that define custom operators.
        weights_folder: the folder of the external weights of a model that is given as bytes.
        optimize: whether ONNX Runtime may rewrite the graph; without, every node runs as it stands.

    Raises:
        ModelError: when a custom-operator library cannot be loaded.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    # Failures are raised and rephrased; the log would only repeat them.
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if weights_folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", _in_utf8(weights_folder)
        )
    for library in custom_ops:
        try:
            options.register_custom_ops_library(library)
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot load the custom-operator library: {plain_message(str(error))}",
                where=str(library),
                fix="give --ort-custom-ops the path of a shared library built for this ONNX Runtime "
                f"({ort.__version__})",
            ) from error
    return options


def _in_utf8(folder: Path) -> str:
    """A folder's name as ONNX Runtime takes it; where the locale cannot hold it, from the working directory."""
    for name in (str(folder), os.path.relpath(folder)):
        with contextlib.suppress(UnicodeEncodeError):
            name.encode()
            return name
    # Without external weights the folder plays no part; with them, ONNX Runtime says what it does not find.
    return "."
