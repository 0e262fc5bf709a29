"""What several actions on caches share: flags, scales as text, and sidecars that follow their caches."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_trtcal.support.destinations import destinations
from onnx_trtcal.support.files import atomic_write
from onnx_trtcal.trt.cache import dumps
from onnx_trtcal.trt.sidecar import Sidecar, read_sidecar, sidecar_path, write_sidecar

if TYPE_CHECKING:
    import argparse
    import contextlib
    from collections.abc import Iterable, Mapping

    from onnx_trtcal.cli.console import Console
    from onnx_trtcal.trt.cache import Cache

__all__ = [
    "add_target",
    "bits",
    "cache_destinations",
    "known_sidecar",
    "numbers",
    "warn_of_made_up",
    "write_followed",
]


def add_target(parser: argparse.ArgumentParser) -> None:
    """Adds --output and --in-place, one of which must be given."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="OUT", help="the cache to write")
    target.add_argument("-i", "--in-place", action="store_true", help="write over FILE")


def bits(scale: float) -> str:
    """The bits of a float32 scale in hexadecimal, as a cache has them."""
    return f"{struct.unpack('<I', struct.pack('<f', scale))[0]:x}"


def numbers(*values: float) -> tuple[str, ...]:
    """Numbers as the cells of a table."""
    return tuple(f"{value:.6g}" for value in values)


def cache_destinations(
    outputs: Iterable[str], inputs: Iterable[str]
) -> contextlib.AbstractContextManager[None]:
    """The `destinations` of a verb that writes caches, each with its sidecar.

    Raises:
        OptionError: naming the path, and what is wrong with it.
        CalibrationError: when another run writes one of them.
    """
    written, read = list(outputs), list(inputs)
    sidecars = [path for name in read if (path := sidecar_path(name)).exists()]
    return destinations(written, [*read, *sidecars], map(sidecar_path, written))


def known_sidecar(file: str, console: Console) -> Sidecar:
    """The sidecar of a cache; one that is there and cannot be used is warned of."""
    sidecar = read_sidecar(file)
    if sidecar.problem:
        console.warn(sidecar.problem)
    return sidecar


def warn_of_made_up(
    file: str, scales: Mapping[str, float], content: Mapping[str, Any], console: Console
) -> None:
    """Names the tensors of a cache whose scale is made up, and those with none: 0 says that no range is known.

    Args:
        file: the cache's file, for the warning.
        scales: tensor -> scale.
        content: what its sidecar says; empty where there is none.
        console: receives the warning.
    """
    from onnx_trtcal.scales import named_tensors, unseen_text

    unseen = [name for name in scales if name in Sidecar(content).unseen]
    zeros = [name for name, scale in scales.items() if scale == 0 and name not in unseen]
    if unseen:
        console.warn(f"{file}: {unseen_text(unseen)}; the scale is made up")
    if zeros:
        console.warn(f"{file}: the scale of {named_tensors(zeros)} is 0, which says that no range is known")


def write_followed(path: str, cache: Cache, content: Mapping[str, Any]) -> str:
    """Writes a cache and, where there is something to say, its sidecar.

    Args:
        path: the cache's file.
        cache: what it holds.
        content: what the sidecar says; empty for none.

    Returns:
        The names of the files written.

    Raises:
        CacheError: for a scale or a name that no cache can hold.
        CalibrationError: when a file cannot be written.
    """
    table = dumps(cache)
    # The sidecar first: when a run that writes over its input is killed between the two, the same command finds the
    # input as it was, and beside it the sidecar of what it is about to write.
    sidecar = write_sidecar(path, table, content)
    atomic_write(path, table)
    return f"{path} and {Path(sidecar)}" if sidecar else path
