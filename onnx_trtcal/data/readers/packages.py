"""Packages that only some formats need."""

from __future__ import annotations

import importlib
from typing import Any

from onnx_trtcal.errors import DataError

__all__ = ["needed_package"]


def needed_package(name: str, where: str, instead: str) -> Any:
    """Imports what reads a format.

    Args:
        name: the module.
        where: the file that needs it.
        instead: what to do without it.

    Raises:
        DataError: when the package is not installed.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"reading this file needs the package {package}: {error}",
            where=where,
            fix=f"pip install {package}, or {instead}",
        ) from error
