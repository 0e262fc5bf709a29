"""Damage that needs no knowledge of a format: to bytes and to lines of text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["NUMBERS", "OUTSIDE", "WORDS", "mutate_bytes", "mutate_text"]

# Repeats multiply: an input of this many characters is not made longer, and one repeat makes no more than this.
_LONG = 1 << 18

# Where no reader may look: the folder of the inputs has a neighbour of this name, in which opening anything blocks.
OUTSIDE = "../outside/secret"

NUMBERS = (
    0,
    1,
    -1,
    2,
    127,
    255,
    256,
    2**15,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    -(2**63),
)

WORDS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1e999",
        "-0",
        "nan",
        "inf",
        "NaN",
        "Infinity",
        "0x",
        "1_000",
        "9" * 30,
        "9" * 5000,
        "٣",
    ),
    *("null", "true", "[]", "{}", "[[[[", "}", '"', "'", "\\", "\\u0000", "\\ud800", "%s", "$x", "`id`"),
    *(OUTSIDE, "/etc/passwd", "/dev/zero", "..", "a/../../b", "con", "~", "*", "a" * 300, "C:\\x"),
    *(
        "\x00",
        "\x1b[31mred",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202eabc",
        "\ufeff",
        "\ud800",
        "名字",
        "größe",
        "\r",
        "\n",
        "\t",
    ),
)


def mutate_bytes(data: bytes, other: bytes, random: Random) -> bytes:
    """One to four of: flipped and overwritten bytes, integers replaced, cuts, repeats, insertions, splices."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        random.choice(_BYTES)(out, other, random)
    return bytes(out)


def mutate_text(data: bytes, other: bytes, random: Random) -> bytes:
    """Words, numbers and whole lines replaced, repeated, exchanged and lost; other encodings; sometimes plain bytes."""
    if random.random() < 0.25:
        return mutate_bytes(data, other, random)
    text = data.decode("utf-8", "replace")
    for _ in range(random.choice((1, 1, 2, 5))):
        text = random.choice(_TEXT)(text, random)
        if len(text) > _LONG:
            break
    encoding = random.choice(("utf-8",) * 12 + ("utf-16", "utf-8-sig", "latin-1", "utf-32"))
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def _place(out: bytearray, random: Random) -> int:
    # Headers are where formats break: half of the damage is done to the first 256 bytes.
    return random.randrange(min(len(out), 256) if random.random() < 0.5 else len(out)) if out else 0


def _flip(out: bytearray, _: bytes, random: Random) -> None:
    for _number in range(random.choice((1, 1, 2, 8))):
        if out:
            out[_place(out, random)] ^= 1 << random.randrange(8)


def _overwrite(out: bytearray, _: bytes, random: Random) -> None:
    at = _place(out, random)
    out[at : at + 1] = bytes([random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))])


def _integer(out: bytearray, _: bytes, random: Random) -> None:
    size = random.choice((2, 4, 8))
    value = random.choice(NUMBERS) % 256**size
    at = _place(out, random)
    out[at : at + size] = value.to_bytes(size, random.choice(("little", "big")))


def _cut(out: bytearray, _: bytes, random: Random) -> None:
    del out[_place(out, random) :]


def _lose(out: bytearray, _: bytes, random: Random) -> None:
    at = _place(out, random)
    del out[at : at + random.choice((1, 2, 8, 64))]


def _repeat(out: bytearray, _: bytes, random: Random) -> None:
    at = _place(out, random)
    out[at:at] = out[at : at + random.choice((1, 4, 32, 256))] * random.choice((1, 2, 50))


def _insert(out: bytearray, _: bytes, random: Random) -> None:
    at = _place(out, random)
    out[at:at] = random.choice(
        (random.choice(WORDS).encode("utf-8", "surrogatepass"), random.randbytes(8), b"\0" * 64)
    )


def _splice(out: bytearray, other: bytes, random: Random) -> None:
    at = _place(out, random)
    begin = _place(bytearray(other), random)
    out[at:] = other[begin:]


_BYTES: tuple[Callable[[bytearray, bytes, Random], None], ...] = (
    *(_flip, _flip, _overwrite, _integer, _integer, _cut, _lose, _repeat, _insert, _splice),
)


def _word(text: str, random: Random) -> str:
    found = list(re.finditer(r"[^\s,:;=\[\]{}\"]+", text))
    if not found:
        return random.choice(WORDS)
    at = random.choice(found)
    return text[: at.start()] + random.choice(WORDS) + text[at.end() :]


def _number(text: str, random: Random) -> str:
    found = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if not found:
        return text + random.choice(WORDS)
    at = random.choice(found)
    return text[: at.start()] + str(random.choice(NUMBERS)) + text[at.end() :]


def _mark(text: str, random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return (
        text[:at]
        + random.choice(",:;=[]{}\"'\n\r\t#|<>\\\x00\x1b") * random.choice((1, 1, 2, 3000))
        + text[at:]
    )


def _line(text: str, random: Random) -> str:
    lines = text.split("\n")
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            lines[one], lines[two] = lines[two], lines[one]
        case 1:
            lines[one:one] = [lines[two]] * _times(lines[two], random.choice((1, 3, 1000)))
        case 2:
            del lines[one]
        case 3:
            lines[one] = lines[one] * _times(lines[one], random.choice((2, 500)))
        case 4:
            lines[one] = lines[one][: random.randrange(len(lines[one]) + 1)]
        case _:
            lines[one] += lines[two]
    return "\n".join(lines)


def _times(repeated: str, times: int) -> int:
    return min(times, _LONG // (len(repeated) + 1) + 1)


_TEXT: tuple[Callable[[str, Random], str], ...] = (_word, _word, _number, _mark, _line, _line)
