"""How few groups it takes."""

from __future__ import annotations

import pytest

from onnx_trtcal.tuning.float_layers import fewest, without_idle
from onnx_trtcal.tuning.layer_ranking import Candidate


@pytest.mark.parametrize("most", [1, 2, 3, 7, 8, 100])
def test_the_fewest_that_do_are_found_in_few_looks(most: int) -> None:
    for needed in range(1, most + 1):
        looks: list[int] = []

        def meets(count: int, needed: int = needed, looks: list[int] = looks) -> bool:
            looks.append(count)
            return count >= needed

        assert fewest(most, meets) == needed
        assert len(looks) <= 2 * most.bit_length()
        assert len(set(looks)) == len(looks)


def test_all_of_them_where_not_even_those_do() -> None:
    assert fewest(6, lambda _: False) == 6


def group(name: str, share: float) -> Candidate:
    return Candidate(name, gain=0.1, share=share, layers=1, cost=share + 0.1)


def test_what_the_target_does_not_need_goes_back_the_dearest_first() -> None:
    chosen = [group("a", 0.1), group("b", 0.5), group("c", 0.2), group("d", 0.3)]
    tried: list[str] = []

    def meets(rest: list[Candidate]) -> bool:
        names = {each.pattern for each in rest}
        tried.extend({"a", "b", "c", "d"} - names - {*tried})
        return {"a", "d"} <= names

    kept = without_idle(chosen, meets)
    assert [each.pattern for each in kept] == ["a", "d"]
    assert tried == ["b", "d", "c", "a"]


def test_one_group_at_least_stays() -> None:
    chosen = [group("a", 0.1), group("b", 0.5)]
    assert [each.pattern for each in without_idle(chosen, lambda _: True)] == ["a"]
