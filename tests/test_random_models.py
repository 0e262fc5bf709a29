"""Random small graphs over the operator tables: folding changes no tensor, and none is forgotten."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from helpers import toys
from helpers.small import CPU
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnx_trtcal.graph.model.importer import import_graph
from onnx_trtcal.graph.probe import probe
from onnx_trtcal.options import Options
from onnx_trtcal.prepared import prepare
from onnx_trtcal.run.provider import Provider
from onnx_trtcal.run.session import Session

CHANNELS, SIDE = 4, 4
UNARY = (
    "Relu",
    "Sigmoid",
    "Neg",
    "Identity",
    "Dropout",
    "MaxPool",
    "AveragePool",
    "HardSwish",
    "Clip",
    "LeakyRelu",
)


class Builder:
    """A graph while it grows; every tensor of `images` is N x 4 x 4 x 4, of `rows` N x 4, of `tokens` N x 4 x 4."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.families = {"images": ["x"], "rows": [], "tokens": []}
        self.random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def pick(self, family: str) -> str:
        """A tensor; most often the last, for chains are what folds."""
        last = self.families[family][-3:]
        return self.draw(st.sampled_from([last[-1]] * 12 + last))

    def constant(self, shape: tuple[int, ...], least: float = -1.5) -> str:
        """A new constant, or one of that shape that another node has already."""
        shared = [
            name
            for name, value in self.constants.items()
            if value.dtype == np.float32 and value.shape == shape and value.min() >= least
        ]
        if shared and self.draw(st.integers(0, 3)) == 0:
            return self.draw(st.sampled_from(shared))
        name = f"k{len(self.constants)}"
        self.constants[name] = self.random.uniform(least, 1.5, shape).astype(np.float32)
        return name

    def add(self, op: str, inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(toys.node(op, inputs, name, **attributes))
        return name

    def step(self) -> None:
        family = self.draw(st.sampled_from([name for name, members in self.families.items() if members]))
        kinds = ["kernel", "norm", "arithmetic"] * 2 + ["unary", "residual", "product", "other family"]
        made = getattr(self, "_" + self.draw(st.sampled_from(kinds)).replace(" ", "_"))(family)
        self.families[made[1]].append(made[0])

    def _kernel(self, family: str) -> tuple[str, str]:
        source = self.pick(family)
        if family == "images":
            groups = self.draw(st.sampled_from([1, 2, 4]))
            size = self.draw(st.sampled_from([1, 3]))
            inputs = f"{source} {self.constant((CHANNELS, CHANNELS // groups, size, size))}"
            inputs += f" {self.constant((CHANNELS,))}" if self.draw(st.booleans()) else ""
            op = self.draw(st.sampled_from(["Conv", "ConvTranspose"]))
            return self.add(op, inputs, group=groups, pads=[size // 2] * 4), family
        if family == "rows" and self.draw(st.booleans()):
            inputs = f"{source} {self.constant((4, 4))} {self.constant((4,))}"
            turned, factor = self.draw(st.integers(0, 1)), self.draw(st.sampled_from([1.0, 0.5]))
            return self.add("Gemm", inputs, transB=turned, alpha=factor, beta=2 * factor), family
        weight = self.constant((4, 4))
        left = family == "tokens" and self.draw(st.booleans())
        return self.add("MatMul", f"{weight} {source}" if left else f"{source} {weight}"), family

    def _norm(self, family: str) -> tuple[str, str]:
        parameters = [self.constant((4,)) for _ in range(3)] + [self.constant((4,), 0.1)]
        return self.add("BatchNormalization", f"{self.pick(family)} {' '.join(parameters)}"), family

    def _arithmetic(self, family: str) -> tuple[str, str]:
        tail = {"images": (1, 1), "rows": (), "tokens": (1,)}[family]
        shape = self.draw(st.sampled_from([(4, *tail), (1, 4, *tail)] * 3 + [(4,), (1,), ()]))
        op = self.draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
        names = [self.pick(family), self.constant(shape, 0.2)]
        return self.add(
            op, " ".join(names if op == "Div" or self.draw(st.booleans()) else names[::-1])
        ), family

    def _unary(self, family: str) -> tuple[str, str]:
        op = self.draw(st.sampled_from(UNARY))
        attributes = {}
        if "Pool" in op:
            if family != "images":
                op = "Relu"
            else:
                attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        return self.add(op, self.pick(family), **attributes), family

    def _residual(self, family: str) -> tuple[str, str]:
        return self.add("Add", f"{self.pick(family)} {self.families[family][0]}"), family

    def _product(self, family: str) -> tuple[str, str]:
        return self.add(
            self.draw(st.sampled_from(["Mul", "Max"])), f"{self.pick(family)} {self.pick(family)}"
        ), family

    def _other_family(self, family: str) -> tuple[str, str]:
        """Into another shape; a reshape may keep the channels apart or mix them."""
        source = self.pick(family)
        target = self.draw(st.sampled_from([name for name in self.families if name != family]))
        size = {"images": CHANNELS * SIDE * SIDE, "rows": CHANNELS, "tokens": CHANNELS * SIDE}
        if size[family] > size[target]:
            pooled = self.add("ReduceMean", source, axes=[-1], keepdims=0)
            if size[family] // size[target] > SIDE:
                pooled = self.add("ReduceMean", pooled, axes=[-1], keepdims=0)
            return pooled, target
        shape = {"rows": [4, 1], "tokens": [4, 4, 1]}[family] + [1] * (
            family == "rows" and target == "images"
        )
        self.constants[f"shape{len(shape)}{family}"] = np.int64([-1, *shape])
        spread = self.add("Reshape", f"{source} shape{len(shape)}{family}")
        if self.draw(st.booleans()):  # folds into what is before the reshape
            parameters = [self.constant((4,)) for _ in range(3)] + [self.constant((4,), 0.1)]
            spread = self.add("BatchNormalization", f"{spread} {' '.join(parameters)}")
        last = (4, 4) if target == "images" and family == "rows" else (4,)
        return self.add(
            "Mul", f"{spread} {self.constant((1,) * (len(shape) + 1 - len(last)) + last)}"
        ), target


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """A model whose outputs are its last tensor and some in the middle, one of them read by a subgraph as well."""
    builder = Builder(draw)
    for _ in range(draw(st.integers(2, 14))):
        builder.step()
    made = [node.output[0] for node in builder.nodes]
    outputs = sorted({made[-1], *draw(st.lists(st.sampled_from(made), max_size=1))})
    nodes = builder.nodes
    if draw(st.booleans()):
        inner = toys.node("Neg", draw(st.sampled_from(made)), "inner")
        end = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        body = helper.make_graph([inner], "body", [], [end])
        builder.constants["flag"] = np.bool_(True)
        nodes = [*nodes, toys.node("If", "flag", "branch", then_branch=body, else_branch=body)]
        outputs.append("branch")
    return toys.model(
        draw(st.permutations(nodes)), {"x": ["N", CHANNELS, SIDE, SIDE]}, outputs, builder.constants
    )


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(models(), st.sampled_from(["fused", "all"]))
def test_folded_and_original_agree_on_every_remaining_tensor(model: onnx.ModelProto, observe: str) -> None:
    before = model.SerializeToString(deterministic=True)
    prepared = prepare(model, Options(provider="cpu", observe=observe))
    floats = {"x"} | {name for node in model.graph.node for name in node.output}
    plan = prepared.plan
    assert floats <= {*plan.owners, *plan.skipped}
    assert not set(plan.owners) & set(plan.skipped)
    assert set(plan.observed) <= set(plan.owners)
    names = [name for name in plan.owners if name in prepared.folded.tensors() and name in floats]
    assert floats <= {*names, *prepared.folds.vanished, *plan.skipped}
    feed = {"x": np.random.default_rng(0).normal(size=(2, CHANNELS, SIDE, SIDE)).astype(np.float32)}
    cpu = Provider("cpu", "")
    want, got = (
        Session(probe(graph, prepared.model, names), cpu).run(feed, "")
        for graph in (import_graph(prepared.model), prepared.folded)
    )
    for name, a, b in zip(names, want, got, strict=True):
        size = max(float(np.abs(a[np.isfinite(a)]).max(initial=0)), 1e-3)
        if math.isfinite(size) and size < 1e30:
            np.testing.assert_allclose(b, a, atol=2e-4 * size, rtol=2e-4, err_msg=name)
    assert model.SerializeToString(deterministic=True) == before


def test_the_random_models_fold_at_all() -> None:
    folded: dict[str, int] = {}

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(models())
    def count(model: onnx.ModelProto) -> None:
        for item in prepare(model, CPU).folds.folded:
            folded[item.op] = folded.get(item.op, 0) + 1

    count()
    assert folded.pop("BatchNormalization") > 5
    assert len(folded) > 1  # of Add, Sub, Mul and Div
