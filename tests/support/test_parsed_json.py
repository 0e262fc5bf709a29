from __future__ import annotations

import pytest

from onnx_trtcal.support.parsed_json import parse_json


def test_values_and_pairs() -> None:
    assert parse_json('{"a": [1, null]}') == parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    assert parse_json('{"a": 1, "a": 2}', list) == [("a", 1), ("a", 2)]


def test_as_many_levels_as_are_allowed() -> None:
    def nested(levels: int) -> str:
        return '{"a": [' * (levels // 2) + "1" + "]}" * (levels // 2)

    for text in (nested(100), f'[1, {nested(98)}, "[[[["]'):
        assert parse_json(text)
    for pairs in (None, list):
        with pytest.raises(ValueError, match="nested too deeply: more than 100 levels"):
            parse_json(f"[{nested(100)}]", pairs)
        assert parse_json(f"[{nested(100)}]", pairs, levels=None)
    assert parse_json("[[]]", levels=2) == [[]]
    with pytest.raises(ValueError, match="2 levels"):
        parse_json("[[[]]]", levels=2)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, b"\xff"])
def test_whatever_is_no_json_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
