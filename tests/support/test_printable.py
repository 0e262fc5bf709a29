from __future__ import annotations

import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_trtcal.support.printable import printable, shell_command, shell_word

ANY = st.text(st.characters(codec=None, exclude_categories=()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv1/relu",
        "größe",
        "卷积_1",
        "свёртка",
        "ชั้น",
        "طبقة",
        "می\u200cخواهم",
        "😀",
        "a\u00a0b",
        "×±…",
        "C:\\x",
        "層\u3000一",
    ],
)
def test_every_script_stays_readable(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x\x1b[31m", r"x\x1b[31m"),
        ("a\nerror: forged", r"a\nerror: forged"),
        ("\r\t\b\x00\x7f", r"\r\t\x08\x00\x7f"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202egnp.exe\u2066\u200f\u061c", r"\u202egnp.exe\u2066\u200f\u061c"),
        ("\ufeff\u200b\u00ad", r"\ufeff\u200b\xad"),
        ("\udcff\ud800", r"\udcff\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY)
def test_nothing_printed_is_a_control_or_a_line_break(text: str) -> None:
    shown = printable(text)
    kinds = {unicodedata.category(char) for char in shown if char not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "word",
    ["plain", "two words", "it's", "", "größe", "x\x1b[0m", "a\nb'c\\d", "\u202ex\u00ad'", "\x7f%$HOME"],
)
def test_bash_reads_a_word_back(word: str) -> None:
    line = shell_command(["printf", "%s", word])
    assert printable(line) == line
    done = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.decode() == word


def test_bytes_of_a_file_name_that_are_no_text_are_written_as_bytes() -> None:
    assert shell_word("\udcffx") == r"$'\xffx'"
