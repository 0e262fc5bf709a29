from __future__ import annotations

from onnx_trtcal.data.seen_shapes import SeenShapes, in_batches, per_sample


def test_seen_shapes_span_what_was_fed() -> None:
    noted = SeenShapes()
    for shape in ((8, 3, 32, 64), (8, 3, 64, 32), (5, 3, 40, 40)):
        noted.add(shape)
    assert noted == SeenShapes((5, 3, 32, 32), (8, 3, 64, 64))


def test_batches_play_no_part_in_the_shapes_of_a_sample() -> None:
    seen = {
        "x": SeenShapes((3, 4), (8, 9), 0),
        "h": SeenShapes((2, 3), (2, 8), 1),
        "z": SeenShapes((2,), (6,)),
    }
    alone = per_sample(seen)
    assert alone == {**seen, "x": SeenShapes((1, 4), (1, 9), 0), "h": SeenShapes((2, 1), (2, 1), 1)}
    assert in_batches(alone, 16) == {
        **seen,
        "x": SeenShapes((1, 4), (16, 9), 0),
        "h": SeenShapes((2, 1), (2, 16), 1),
    }
