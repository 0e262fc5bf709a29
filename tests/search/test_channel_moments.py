"""What sums tell of an output is what the output is, for every form of layer with a bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.toys import model, node, run

from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.search.channel_moments import channel_moments
from onnx_trtcal.search.layers import layers_of
from onnx_trtcal.search.subgraph_runner import quantized
from onnx_trtcal.search.task import int8_placement

if TYPE_CHECKING:
    import onnx

    from onnx_trtcal.search.layers import Layer

RANDOM = np.random.default_rng(0)
THRESHOLD = 2.0


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


LAYERS = [
    (
        "Conv",
        "x w b",
        {"w": normal(6, 2, 3, 2), "b": normal(6)},
        (4, 7, 6),
        {"group": 2, "pads": [1, 0, 1, 1]},
        1,
    ),
    ("Conv", "x w", {"w": normal(5, 4, 1, 1)}, (4, 3, 3), {"strides": [2, 1]}, 1),
    ("Gemm", "x w b", {"w": normal(8, 5), "b": normal(5)}, (8,), {"alpha": 0.5, "beta": 2.0}, 1),
    ("Gemm", "x w b", {"w": normal(5, 8), "b": normal(1, 5)}, (8,), {"transB": 1}, 1),
    ("MatMul", "x w", {"w": normal(8, 5)}, (3, 8), {}, 2),
]


def the_layer(proto: onnx.ModelProto) -> Layer:
    prepared = prepare(proto, Options(provider="cpu"))
    (layer,) = layers_of(prepared.folded, int8_placement(prepared))
    return layer


def toy(op: str, reads: str, constants: dict, shape: tuple[int, ...], attributes: dict) -> onnx.ModelProto:
    return model([node(op, reads, "y", **attributes)], {"x": ("N", *shape)}, {"y": None}, constants)


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize(("op", "reads", "constants", "shape", "attributes", "axis"), LAYERS)
def test_sums_of_products(
    op: str, reads: str, constants: dict, shape: tuple, attributes: dict, axis: int, together: int
) -> None:
    proto = toy(op, reads, constants, shape, attributes)
    samples = [normal(1, *shape) for _ in range(5)]
    values = [{"x": x, "y": run(proto, {"x": x})[0]} for x in samples]
    moments = channel_moments(the_layer(proto), "w", THRESHOLD, values, together)
    assert moments is not None
    other = normal(*constants["w"].shape)
    changed = toy(op, reads, {**constants, "w": other}, shape, attributes)
    got = [run(changed, {"x": quantized(x, THRESHOLD)})[0] for x in samples]
    one, two = (
        np.concatenate([np.moveaxis(y, axis, 0).reshape(y.shape[axis], -1) for y in side], axis=1).astype(
            float
        )
        for side in ([each["y"] for each in values], got)
    )
    expected = [(one * two).sum(1), (one * one).sum(1), (two * two).sum(1)]
    alpha = attributes.get("alpha", 1.0)
    # Two weights at a time, the second of them half as large.
    weights = moments.rows.matrix(alpha * other.astype(float)) * np.array([1.0, 0.5])[:, None, None, None]
    products = moments.products(weights)
    np.testing.assert_allclose(products[:, 0], expected, rtol=1e-4, atol=1e-4)
    alone = moments.products(weights[1:])
    np.testing.assert_allclose(products[:, 1], alone[:, 0], rtol=1e-9)


def test_what_sums_do_not_tell() -> None:
    proto = toy("MatMul", "x w", {"w": normal(8, 5)}, (3, 8), {})
    x = normal(1, 3, 8)
    x[0, 1, 1] = np.nan
    values = [{"x": x, "y": run(proto, {"x": x})[0]}]
    assert channel_moments(the_layer(proto), "w", THRESHOLD, values, 1) is None
    transposed = toy("ConvTranspose", "x w", {"w": normal(3, 4, 2, 2)}, (3, 4, 4), {})
    x = normal(1, 3, 4, 4)
    values = [{"x": x, "y": run(transposed, {"x": x})[0]}]
    assert channel_moments(the_layer(transposed), "w", THRESHOLD, values, 1) is None
