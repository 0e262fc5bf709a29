"""What a machine of the cluster has to say of itself, for runs that must come out the same everywhere."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_trtcal.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Node", "check_alike", "this_node"]

# What computes: of another version, values may be rounded otherwise.
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "Pillow", "onnx")


@dataclass(frozen=True)
class Node:
    """A machine, and what computes there.

    Attributes:
        name: the host's.
        code: the version of this package, and the start of a hash of its source.
        packages: name -> version.
        processor: its name, as far as the system tells.
    """

    name: str
    code: str
    packages: Mapping[str, str]
    processor: str


@cache
def this_node() -> Node:
    """The machine that this runs on."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Node(socket.gethostname(), _code(), packages, _processor())


def check_alike(ours: Node, others: Iterable[Node]) -> list[str]:
    """Checks that all machines run the same code, and says where else they differ.

    Args:
        ours: the machine that started the run.
        others: those of the cluster.

    Returns:
        What may make their results differ by a rounding, one line each.

    Raises:
        CalibrationError: when one has another version of this package.
    """
    nodes = list(others)
    for node in nodes:
        if node.code != ours.code:
            raise CalibrationError(
                f"{node.name} has onnx_trtcal {node.code}, and {ours.name} has {ours.code}",
                fix="install the same version on every machine of the cluster",
            )
    lines = []
    for name in _PACKAGES:
        found = {node.packages.get(name): node.name for node in nodes if name in node.packages}
        if len(found) > 1:
            told = ", ".join(f"{version} on {host}" for version, host in sorted(found.items(), key=str))
            lines.append(
                f"{name} is {told}: the bytes of the result may depend on which machine got which shard"
            )
    processors = {node.processor: node.name for node in nodes if node.processor}
    if len(processors) > 1:
        told = ", ".join(f"{name} in {host}" for name, host in sorted(processors.items()))
        lines.append(
            f"the processors differ: {told}. ONNX Runtime may round otherwise on each: the bytes of the result may "
            "depend on which machine got which shard"
        )
    return lines


def _code() -> str:
    """The version, and the hash of what is run: a version in development changes without its number."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    try:
        version = metadata.version("onnx_trtcal")
    except metadata.PackageNotFoundError:
        version = "from source"
    return f"{version} ({digest.hexdigest()[:12]})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or os.environ.get("PROCESSOR_IDENTIFIER", "")
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
