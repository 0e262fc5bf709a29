"""Trains an ONNX model's own initializers: JAX runs the graph node by node and differentiates it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import lax
from onnx import helper, numpy_helper

__all__ = ["train"]

SEED = 20
EPOCHS, BATCH = 40, 64
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-4

Arrays = dict[str, jax.Array]
Attributes = Mapping[str, int | float | list[int]]


class State(NamedTuple):
    """What a step moves: weights, running statistics of BatchNormalization, Adam's moments of each weight."""

    weights: Arrays
    statistics: Arrays
    first: Arrays
    second: Arrays


def train(model: onnx.ModelProto, images: np.ndarray, labels: np.ndarray) -> None:
    """Trains the initializers in place, for a fixed number of epochs: no digit decides when to stop.

    Args:
        model: a graph of one input and one output, logits [batch, classes].
        images: float32 [N, ...], as the model's input wants them.
        labels: int64 [N].
    """
    start = {item.name: jnp.asarray(numpy_helper.to_array(item)) for item in model.graph.initializer}
    statistics = {key: value for key, value in start.items() if ".running_" in key}
    weights = {key: value for key, value in start.items() if key not in statistics}
    zeros = {key: jnp.zeros_like(value) for key, value in weights.items()}
    state = State(weights, statistics, zeros, zeros)

    # AVX2 is as wide as vectors get, so that processors with AVX-512 do not add in another order.
    step = jax.jit(partial(_step, model.graph), compiler_options={"xla_cpu_max_isa": "AVX2"})
    rng = np.random.default_rng(SEED)
    per_epoch = len(labels) // BATCH
    last = EPOCHS * per_epoch
    for number in range(last):
        if number % per_epoch == 0:
            order = rng.permutation(len(labels))
        picked = order[number % per_epoch * BATCH :][:BATCH]
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * number / last))
        state = step(state, np.float32(number + 1), np.float32(rate), images[picked], labels[picked])

    trained = state.weights | state.statistics
    for item in model.graph.initializer:
        item.CopyFrom(numpy_helper.from_array(np.asarray(trained[item.name]), item.name))


def _step(
    graph: onnx.GraphProto, state: State, number: jax.Array, rate: jax.Array, x: jax.Array, y: jax.Array
) -> State:
    """One step of Adam with decoupled weight decay; `number` counts from 1, and vectors do not decay."""

    def loss(weights: Arrays) -> tuple[jax.Array, Arrays]:
        logits, statistics = _run(graph, weights, state.statistics, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean(), statistics

    slopes, statistics = jax.grad(loss, has_aux=True)(state.weights)
    weights, first, second = {}, {}, {}
    for key, weight in state.weights.items():
        first[key] = 0.9 * state.first[key] + 0.1 * slopes[key]
        second[key] = 0.999 * state.second[key] + 0.001 * slopes[key] ** 2
        mean, square = first[key] / (1 - 0.9**number), second[key] / (1 - 0.999**number)
        decay = WEIGHT_DECAY * weight if weight.ndim > 1 else 0.0
        weights[key] = weight - rate * (mean / (jnp.sqrt(square) + 1e-8) + decay)
    return State(weights, statistics, first, second)


def _run(
    graph: onnx.GraphProto, weights: Arrays, statistics: Arrays, x: jax.Array
) -> tuple[jax.Array, Arrays]:
    """The graph's output, with the batch's own statistics, and the running ones moved towards those."""
    values = {graph.input[0].name: x, **weights}
    moved = {}
    for node in graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type == "BatchNormalization":
            data, gain, offset, *running = node.input
            y, *batch = _normalise(attributes["epsilon"], values[data], values[gain], values[offset])
            keep = attributes["momentum"]
            for name, value in zip(running, batch, strict=True):
                moved[name] = keep * statistics[name] + (1 - keep) * value
        else:
            y = KERNELS[node.op_type](attributes, *(values[name] for name in node.input))
        values[node.output[0]] = y
    return values[graph.output[0].name], moved


def _normalise(
    epsilon: float, x: jax.Array, gain: jax.Array, offset: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalised by the batch's mean and variance; returns these too, the variance as the unbiased one."""
    axes = (0, *range(2, x.ndim))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, variance = x.mean(axes), x.var(axes)
    y = (x - mean.reshape(shape)) * lax.rsqrt(variance.reshape(shape) + epsilon)
    count = x.size // x.shape[1]
    return y * gain.reshape(shape) + offset.reshape(shape), mean, variance * (count / (count - 1))


def _conv(attributes: Attributes, x: jax.Array, weight: jax.Array, *bias: jax.Array) -> jax.Array:
    top, left, bottom, right = attributes["pads"]
    y = lax.conv_general_dilated(
        x,
        weight,
        window_strides=attributes["strides"],
        padding=[(top, bottom), (left, right)],
        feature_group_count=attributes["group"],
    )
    return y + bias[0].reshape(1, -1, 1, 1) if bias else y


def _max_pool(attributes: Attributes, x: jax.Array) -> jax.Array:
    window, strides = (1, 1, *attributes["kernel_shape"]), (1, 1, *attributes["strides"])
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "VALID")


# As much of each op as the two networks use: no dilation, padded pooling, alpha or beta.
KERNELS: dict[str, Callable[..., jax.Array]] = {
    "Add": lambda _, a, b: a + b,
    "Concat": lambda attributes, *parts: jnp.concatenate(parts, attributes["axis"]),
    "Conv": _conv,
    "Flatten": lambda _, x: x.reshape(len(x), -1),
    "Gemm": lambda _, x, weight, bias: x @ weight.T + bias,
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdims=True),
    "MatMul": lambda _, x, weight: x @ weight,
    "MaxPool": _max_pool,
    "Relu": lambda _, x: jax.nn.relu(x),
}
