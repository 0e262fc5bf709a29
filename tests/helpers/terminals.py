"""A pseudo-terminal to run the command line on."""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from typing import TYPE_CHECKING
from unittest import mock

from onnx_trtcal.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["on_terminal", "without_escapes"]


def on_terminal(
    words: Sequence[str], width: int, environment: Mapping[str, str], encoding: str = "utf-8"
) -> tuple[int, str]:
    """Runs the command line with standard output on a terminal; its exit code, and what the terminal got.

    Args:
        words: the arguments.
        width: of the terminal, in characters.
        environment: on top of this process's, without its own ideas of terminals.
        encoding: what Python believes the terminal's to be.
    """
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    got: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, got))
    reader.start()
    with mock.patch.dict(os.environ, {"TERM": "xterm-256color", **environment}):
        for name in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "COLORTERM"} - environment.keys():
            os.environ.pop(name, None)
        with open(slave, "w", encoding=encoding) as terminal, mock.patch.object(sys, "stdout", terminal):
            code = main([*words])
    reader.join()
    os.close(master)
    return code, b"".join(got).replace(b"\r\n", b"\n").decode(encoding)


def without_escapes(text: str) -> str:
    """What a terminal shows, without styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _read_all(master: int, got: list[bytes]) -> None:
    try:
        while piece := os.read(master, 65536):
            got.append(piece)
    except OSError:  # the other end is closed
        pass
