from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from onnx_trtcal.counting.tally import Tally
from onnx_trtcal.data.batching import Batch
from onnx_trtcal.data.layout import Feeding
from onnx_trtcal.errors import StatisticsError
from onnx_trtcal.stats.collection import Collection


def batch(*names: str) -> Batch:
    values = np.array([[float(name)] for name in names], np.float32)
    return Batch({"x": values}, names, names, len(names), len(names), Feeding({"x": 0}))


def values(each: Batch) -> dict[str, np.ndarray]:
    return {"y": each.feeds["x"], "whole": each.feeds["x"].sum()[None]}


def count(tally: Tally, each: Batch) -> None:
    tally.count(each, values(each), lambda place: values(each.alone(place)))


def counted(*batches: Batch, workers: int) -> Collection:
    with ThreadPoolExecutor(workers) as pool:
        tally = Tally(Collection(["y", "whole"], model="m"), workers, pool)
        for each in batches:
            tally.admit(each)
        if workers == 1:  # which the pool helps
            for each in batches:
                count(tally, each)
        else:
            list(pool.map(lambda each: count(tally, each), batches))
        for each in batches:
            tally.finish(each)
        assert tally.under_way == 0
        tally.gather()
        assert tally.apart == 0
    return tally.collection


def test_shares_add_up_to_what_one_worker_counts() -> None:
    batches = [batch(str(2.0**n), str(-(3.0**n))) for n in range(-9, 30)]
    assert counted(*batches, workers=4) == counted(*batches, workers=1)


def test_gathering_twice_counts_nothing_twice() -> None:
    with ThreadPoolExecutor(2) as pool:
        tally = Tally(Collection(["y", "whole"], model="m"), 2, pool)
        for each in (batch("1", "2"), batch("3", "700")):
            tally.admit(each)
            count(tally, each)
            tally.finish(each)
            tally.gather()
            tally.gather()
    assert tally.collection == counted(batch("1", "2"), batch("3", "700"), workers=1)


def test_a_sample_is_refused_when_it_is_counted_or_about_to_be() -> None:
    with ThreadPoolExecutor(2) as pool:
        tally = Tally(Collection(["y", "whole"], model="m"), 2, pool)
        tally.admit(batch("1", "2"))
        with pytest.raises(StatisticsError, match="counted twice"):
            tally.admit(batch("3", "2"))
        assert (tally.under_way, tally.apart) == (2, 2)
        count(tally, batch("1", "2"))
        tally.finish(batch("1", "2"))
        tally.gather()
        with pytest.raises(StatisticsError, match="counted twice"):
            tally.admit(batch("1"))


def test_the_sample_that_gave_a_nan_is_found_whatever_it_was_run_with() -> None:
    names = ("7", "1", "2", "nan", "4", "3")
    whole = counted(batch(*names), workers=1).first_nonfinite
    pieces = batch(*names[:2]), batch(*names[2:5]), batch(*names[5:])
    assert whole == counted(*pieces, workers=2).first_nonfinite == {"y": "nan", "whole": "nan"}
