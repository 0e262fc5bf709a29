"""Collections: the same content whatever the batches, shards and merges, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats.collection import Collection
from onnx_trtcal.stats.histogram import Histogram
from onnx_trtcal.stats.store import dumps

OPTIONS = {"observe": "fused", "preprocess": {"mean": (0.5, 0.25)}, "tie_concat": False}
TENSORS = ("input", "conv/out", "prob")


def empty(**changes: object) -> Collection:
    settings_ = {"tensors": TENSORS, "model": "ab" * 32, "rule": "stable", "options": OPTIONS, **changes}
    return Collection(settings_.pop("tensors"), **settings_)  # type: ignore[arg-type]


def sample(number: int) -> dict[str, np.ndarray]:
    """The activations of sample `number`, without a batch axis; samples 3 and 12 hold non-finite values."""
    random = np.random.default_rng(number)
    arrays = {
        "input": random.random((2, 3)).astype(np.float32),
        "conv/out": random.standard_normal(11).astype(np.float32) * np.float32(2.0 ** (number % 5)),
        "prob": np.maximum(random.standard_normal(5), 0).astype(np.float16),
    }
    if number in (3, 12):
        arrays["conv/out"][number % 11] = np.nan
        arrays["prob"][0] = np.inf
    return arrays


def name(number: int) -> str:
    return f"img{number}.png"


def add(collection: Collection, numbers: list[int]) -> None:
    samples = [sample(number) for number in numbers]
    collection.add(
        [name(number) for number in numbers],
        [f"hash{number}" for number in numbers],
        {tensor: np.stack([arrays[tensor] for arrays in samples]) for tensor in TENSORS},
    )


def collected(*batches: list[int]) -> Collection:
    collection = empty()
    for batch in batches:
        add(collection, batch)
    return collection


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.permutations(range(14)), st.integers(1, 6), st.integers(1, 4), st.integers(0, 3))
def test_batches_order_and_shards_do_not_matter(
    order: list[int], batch: int, shards: int, first: int
) -> None:
    expected = dumps(collected(list(range(14))))
    parts = []
    for shard in range(shards):
        numbers = order[shard::shards]
        parts.append(collected(*(numbers[i : i + batch] for i in range(0, len(numbers), batch))))
    whole = parts.pop(first % shards)
    for part in parts:
        before = dumps(part)
        whole.merge(part)
        assert dumps(part) == before
    assert dumps(whole) == expected


def test_merging_is_associative() -> None:
    a, b, c = (lambda: collected([1, 3])), (lambda: collected([12])), (lambda: collected([5], [0]))
    left, right, tail = a(), a(), b()
    left.merge(b())
    left.merge(c())
    tail.merge(c())
    right.merge(tail)
    assert dumps(left) == dumps(right)
    assert left == right


def test_first_nonfinite_is_the_first_in_natural_order() -> None:
    collection = collected([12, 4], [3, 2])
    assert collection.first_nonfinite == {"conv/out": "img3.png", "prob": "img3.png"}
    assert collection.histograms["conv/out"].nan == 2
    assert collection.histograms["prob"].inf == 2


def test_nonfinite_rows_are_found_in_split_and_shared_axes() -> None:
    collection = empty(tensors=["a", "b", "c"])
    values = np.zeros((6, 2), np.float32)
    values[2, 1] = np.inf
    odd = np.full(5, np.nan, np.float32)
    collection.add(["y", "x", "w"], ["1", "2", "3"], {"a": values, "b": odd, "c": np.float32(np.nan)[()]})
    assert collection.first_nonfinite == {"a": "x", "b": "w", "c": "w"}


def part_of(tensors: list[str], numbers: list[int], **changes: object) -> Collection:
    part = empty(tensors=tensors, **changes)
    for number in numbers:
        part.add([name(number)], [f"hash{number}"], {t: sample(number)[t][None] for t in tensors})
    return part


@pytest.mark.parametrize("rule", ["stable", "tensorrt"])
def test_parts_make_the_whole(rule: str) -> None:
    whole = empty(rule=rule)
    whole.take(part_of(["prob", "input"], [1, 3], rule=rule))
    whole.take(part_of(["conv/out"], [1, 3], rule=rule))
    assert dumps(whole) == dumps(part_of(list(TENSORS), [1, 3], rule=rule))


def test_parts_that_do_not_fit_are_refused() -> None:
    whole = empty()
    whole.take(part_of(["prob"], [1, 2]))
    before = dumps(whole)
    with pytest.raises(StatisticsError, match=r"only one of the two has 'img4\.png'"):
        whole.take(part_of(["input"], [1, 2, 4]))
    with pytest.raises(StatisticsError, match="other tensors: 'extra'"):
        whole.take(empty(tensors=["extra"]))
    with pytest.raises(StatisticsError, match="another model"):
        whole.take(empty(tensors=["input"], model="cd" * 32))
    assert dumps(whole) == before


def test_samples_are_known_and_sorted() -> None:
    collection = collected([2, 10], [1])
    assert collection.samples == [("img1.png", "hash1"), ("img10.png", "hash10"), ("img2.png", "hash2")]
    assert ("img2.png", "hash2") in collection
    assert ("img2.png", "hash3") not in collection


def test_same_content_under_two_names_counts_twice() -> None:
    collection = collected([1])
    collection.add(["copy.png"], ["hash1"], {tensor: array[None] for tensor, array in sample(1).items()})
    assert collection.histograms["input"].total == 12


@pytest.mark.parametrize("batches", [([1, 2], [3, 2]), ([4, 4],)])
def test_a_sample_is_counted_once(batches: tuple[list[int], ...]) -> None:
    *good, bad = batches
    collection = collected(*good)
    before = dumps(collection)
    with pytest.raises(StatisticsError, match=r"twice: 'img[24]\.png'$|twice: 'img[24]\.png'\n"):
        add(collection, bad)
    assert dumps(collection) == before


def test_merge_refuses_a_shared_sample_whole() -> None:
    whole, part = collected([1, 2]), collected([9], [2])
    before = dumps(whole)
    with pytest.raises(StatisticsError, match=r"twice: 'img2\.png'"):
        whole.merge(part)
    assert dumps(whole) == before


def test_merge_refuses_the_same_content_under_another_name() -> None:
    whole, part = collected([1, 2]), collected([9])
    part.add(["sub/copy.png"], ["hash2"], {tensor: array[None] for tensor, array in sample(2).items()})
    before = dumps(whole)
    with pytest.raises(StatisticsError, match=r"twice: 'img2\.png', called 'sub/copy\.png' in the other"):
        whole.merge(part)
    assert dumps(whole) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "cd" * 32}, "another model: SHA-256 abababababababab… against cdcdcdcdcdcdcdcd…"),
        ({"rule": "tensorrt"}, "another range rule: stable against tensorrt"),
        ({"options": {**OPTIONS, "observe": "all"}}, "observe is 'fused' against 'all'"),
        ({"options": {**OPTIONS, "preprocess": {"mean": [0.5]}}}, "preprocess is {'mean'"),
        ({"tensors": ("input", "prob")}, "only one of the two has 'conv/out'"),
        ({"tensors": TENSORS[::-1]}, "another order"),
    ],
)
def test_merge_refuses_strangers_with_the_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(StatisticsError) as caught:
        empty().merge(empty(**changes))
    assert reason in str(caught.value)


@pytest.mark.parametrize(("ours", "theirs"), [("stable", "tensorrt"), ("tensorrt", "stable")])
def test_what_is_advised_can_be_merged(ours: str, theirs: str) -> None:
    with pytest.raises(StatisticsError) as caught:
        empty(rule=ours).merge(empty(rule=theirs))
    assert caught.value.fix == "collect both with --range stable"


def test_tensorrt_statistics_do_not_merge() -> None:
    with pytest.raises(StatisticsError, match="first batch"):
        empty(rule="tensorrt").merge(empty(rule="tensorrt"))


def test_tuples_and_lists_are_the_same_option() -> None:
    other = empty(options={**OPTIONS, "preprocess": {"mean": [0.5, 0.25]}})
    empty().merge(other)
    assert empty() == other


def test_wrong_tensors_are_refused_before_counting() -> None:
    collection = empty()
    arrays = {tensor: array[None] for tensor, array in sample(1).items()}
    with pytest.raises(StatisticsError, match="no values of 'prob'"):
        collection.add(["a"], ["h"], {t: arrays[t] for t in ("input", "conv/out")})
    with pytest.raises(StatisticsError, match="unexpected values of 'extra'"):
        collection.add(["a"], ["h"], {**arrays, "extra": arrays["prob"]})
    with pytest.raises(StatisticsError, match="int64"):
        collection.add(["a"], ["h"], {**arrays, "prob": np.ones((1, 2), np.int64)})
    assert collection == empty()


VALUES = {name: np.random.default_rng(seed).normal(size=50) * 10**seed for seed, name in enumerate("abc")}


def counted(rule: str = "stable") -> Collection:
    collection = Collection(list(VALUES), model="m", rule=rule)
    collection.add(["s"], ["h"], VALUES)
    return collection


def test_tied_tensors_share_the_histogram_of_all_their_values() -> None:
    collection = counted()
    both = Histogram()
    both.add(np.concatenate([VALUES["a"], VALUES["c"]]))
    histograms = collection.tied_histograms([("a", "c")])
    assert list(histograms) == ["a", "b", "c"]
    assert histograms["a"] == histograms["c"] == both
    assert histograms["b"] == collection.histograms["b"]
    assert collection == counted()


def test_without_ties_all_is_as_it_was_counted() -> None:
    collection = counted("tensorrt")
    assert collection.tied_histograms([]) == collection.histograms
    with pytest.raises(StatisticsError, match="cannot be merged"):
        collection.tied_histograms([("a", "b")])
