"""Which ONNX Runtime is installed.

`onnxruntime` and `onnxruntime-gpu` own one folder: of two that are installed, the one that was written last runs.
"""

from __future__ import annotations

import contextlib
from importlib import metadata

__all__ = ["PACKAGES", "clash", "runtime_versions"]

PACKAGES = ("onnxruntime-gpu", "onnxruntime")


def runtime_versions() -> dict[str, str]:
    """Package -> version of the ONNX Runtime that runs, also where both packages are installed."""
    found = _installed()
    if len(found) < 2:
        return found
    import onnxruntime as ort

    cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    return {"onnxruntime-gpu" if cuda else "onnxruntime": ort.__version__}


def clash() -> str:
    """What is wrong and how to mend it where both packages are installed; an empty string otherwise."""
    if len(_installed()) < 2:
        return ""
    both = " and ".join(PACKAGES)
    return (
        f"{both} are both installed and overwrite each other's files; to mend it: "
        f"pip uninstall -y {' '.join(PACKAGES)} && pip install onnxruntime-gpu"
    )


def _installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
