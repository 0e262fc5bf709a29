r"""Text that is safe to print: names come from models, files, logs and caches, and may hold anything.

An escape sequence recolours a terminal or sets its title, a line break forges a line of output, and a mark of
direction shows a name backwards. Such characters are printed as Python writes them in a string: `\x1b`, `\n`.
"""

from __future__ import annotations

import shlex
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["printable", "shell_command", "shell_word"]

# Controls (C0, C1), invisible marks (of direction, above all), lone surrogates, separators of lines and paragraphs.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}

# Joiners that several scripts are spelled with.
_SPELLING = {"\u200c", "\u200d"}


def printable(text: str) -> str:
    """The text on one line, with every character escaped that acts on a terminal; every script stays readable."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def shell_word(word: str) -> str:
    """The word as a POSIX shell takes it; bash's `$'...'` where it holds what is escaped on printing."""
    shown = printable(word)
    if shown == word:
        return shlex.quote(word)
    escaped = map(_in_shell, word.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{''.join(escaped)}'"


def shell_command(words: Iterable[str]) -> str:
    """A command line of these words, to be copied into a shell."""
    return " ".join(map(shell_word, words))


def _in_shell(char: str) -> str:
    if _escaped(char) == char:
        return char
    # `\x` is a byte to bash: right for ASCII, and for a byte of a file name that is not UTF-8.
    code = ord(char)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(char: str) -> str:
    if char.isprintable() or char in _SPELLING or unicodedata.category(char) not in _UNSAFE:
        return char
    return char.encode("unicode_escape").decode("ascii")
