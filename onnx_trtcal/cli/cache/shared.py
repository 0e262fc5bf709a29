"""What several actions on caches share: flags, and scales as text."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_target", "bits", "numbers"]


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
