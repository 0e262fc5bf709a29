from __future__ import annotations

from onnx_trtcal.data.seen_shapes import SeenShapes


def test_seen_shapes_span_what_was_fed() -> None:
    noted = SeenShapes()
    for shape in ((8, 3, 32, 64), (8, 3, 64, 32), (5, 3, 40, 40)):
        noted.add(shape)
    assert noted == SeenShapes((5, 3, 32, 32), (8, 3, 64, 64))
