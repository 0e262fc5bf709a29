"""What the contenders are fed: samples on disk, read the same way by all, and generated models."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import onnx

__all__ = ["chain", "count_samples", "images", "model_input", "read_batches", "write_chain", "write_samples"]


def write_samples(folder: Path, count: int, shape: tuple[int, ...]) -> Path:
    """Writes `count` smooth random samples, one .npy each without a batch axis; returns the folder."""
    import numpy as np

    folder.mkdir()
    for index in range(count):
        np.save(folder / f"{index:05}.npy", images(index, shape))
    return folder


def images(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """One float32 sample of about unit variance.

    Where it has two spatial axes, it is a coarse random field made smooth, with a little noise, so that its
    activations are as uneven as those of photographs.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    fine = random.standard_normal(shape, dtype=np.float32)
    if len(shape) < 3:
        return fine
    coarse = random.standard_normal((*shape[:-2], 9, 9), dtype=np.float32)
    rows, columns = (_interpolation(size, 9) for size in shape[-2:])
    return np.asarray(1.5 * (rows @ coarse @ columns.T) + 0.1 * fine, np.float32)


def _interpolation(size: int, knots: int) -> np.ndarray:
    """The matrix [size, knots] that interpolates linearly between evenly spaced knots."""
    import numpy as np

    places = np.linspace(0, knots - 1, size, dtype=np.float32)[:, None]
    return np.maximum(0, 1 - np.abs(places - np.arange(knots, dtype=np.float32)))


def model_input(path: str | Path) -> tuple[str, tuple[int, ...], int | None]:
    """The name of a model's only input, its shape without the batch axis, and its batch if that is fixed."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in weights]
    if len(inputs) != 1:
        raise SystemExit(f"{path} has {len(inputs)} inputs; the bench feeds models with one")
    dims = inputs[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    if not sizes or None in sizes[1:]:
        raise SystemExit(
            f"{path}: the bench needs an input whose axes are fixed, save the batch; got {sizes}"
        )
    return inputs[0].name, tuple(size for size in sizes[1:] if size is not None), sizes[0]


def count_samples(data: str | Path) -> int:
    """How many samples `read_batches` finds."""
    import numpy as np

    path = Path(data)
    found = len(list(path.glob("*.npy"))) if path.is_dir() else len(np.load(path, mmap_mode="r"))
    if not found:
        raise SystemExit(f"{data} holds no .npy file")
    return found


def read_batches(data: str, batch: int, samples: int) -> Iterator[np.ndarray]:
    """Batches of the first `samples` samples of a folder of .npy files, or of a stack in one file."""
    import numpy as np

    path = Path(data)
    rows: Iterator[np.ndarray]
    if path.is_dir():
        rows = (np.load(file) for file in sorted(path.glob("*.npy")))
    else:
        rows = iter(np.load(path, mmap_mode="r"))
    rows = islice(rows, samples)
    while gathered := list(islice(rows, batch)):
        yield np.stack(gathered)


def write_chain(path: Path, groups: int, *, batchnorm: bool = True, size: int = 16) -> Path:
    """Writes `chain(...)` to a file and returns its path."""
    import onnx

    onnx.save(chain(groups, batchnorm=batchnorm, size=size), path)
    return path


def chain(groups: int, *, batchnorm: bool = True, size: int = 16, channels: int = 8) -> onnx.ModelProto:
    """A chain of 3x3 Conv [> BatchNormalization] > Relu groups over images of size x size.

    Each convolution passes its input on with a little noise, so that values neither grow nor die away over
    a thousand of them: not every calibrator survives that.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(groups)
    nodes, weights = [], []
    shape: list[int | str] = ["N", channels, size, size]
    x = "input"
    for index in range(groups):
        values = random.normal(0, 1e-3, (channels, channels, 3, 3))
        values[range(channels), range(channels), 1, 1] += 1
        arrays = {"weight": values}
        conv = [x, f"{index}.weight"]
        nodes.append(helper.make_node("Conv", conv, [f"{index}.conv"], pads=[1] * 4, kernel_shape=[3, 3]))
        x = f"{index}.conv"
        if batchnorm:
            one, zero = np.ones(channels), np.zeros(channels)
            arrays |= {"gain": one, "bias": zero, "mean": zero, "variance": one}
            of = [f"{index}.{key}" for key in ("gain", "bias", "mean", "variance")]
            nodes.append(helper.make_node("BatchNormalization", [x, *of], [f"{index}.bn"]))
            x = f"{index}.bn"
        nodes.append(helper.make_node("Relu", [x], [f"{index}.relu"]))
        x = f"{index}.relu"
        weights += [
            numpy_helper.from_array(value.astype(np.float32), f"{index}.{key}")
            for key, value in arrays.items()
        ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
