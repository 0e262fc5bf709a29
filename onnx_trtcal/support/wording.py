"""Small matters of English in messages."""

from __future__ import annotations

__all__ = ["many", "with_article"]


def many(count: int, noun: str) -> str:
    """A number and its noun: `1 sample`, `2 samples`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def with_article(word: str) -> str:
    """A word behind its indefinite article, by its first letter: `an object`, `a tuple`."""
    return f"{'an' if word[:1].lower() in tuple('aeiou') else 'a'} {word}"
