"""Small matters of English in messages."""

from __future__ import annotations

__all__ = ["duration", "many", "size", "with_article"]


def many(count: int, noun: str) -> str:
    """A number and its noun: `1 sample`, `2 samples`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def with_article(word: str) -> str:
    """A word behind its indefinite article, by its first letter: `an object`, `a tuple`."""
    return f"{'an' if word[:1].lower() in tuple('aeiou') else 'a'} {word}"


def duration(seconds: float) -> str:
    """A length of time as a person would say it: "40 s", "12 min", "3 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """A number of bytes as a person would say it, in units of 1024: "1.5 GiB", "20.0 KiB", "7 bytes"."""
    for unit, bytes_of in (
        ("EiB", 1 << 60),
        ("PiB", 1 << 50),
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count:.0f} bytes"
