"""Runs a graph step by step over many samples; what later steps read waits in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx.helper import np_dtype_to_tensor_dtype

from onnx_trtcal.run.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx_trtcal.improve.rounding.tensor_files import TensorFiles
    from onnx_trtcal.search.subgraph import ExportedGraph
    from onnx_trtcal.search.subgraph_runner import SessionOptions

__all__ = ["Chain", "Step"]

_WHERE = "a sample that weights are rounded on"  # for error messages


class Step:
    """Some nodes as a session; its inputs are what the nodes read, and what is put in the place of some reads.

    Args:
        graph: the whole graph.
        nodes: positions of the nodes.
        wanted: tensors that the nodes make.
        feeds: the arrays of one sample, for their types; what stands for a read among them, under its new name.
        options: as for Session.
        rewired: (first output of a node, position of its input) -> the input that it reads instead.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        nodes: Sequence[int],
        wanted: Sequence[str],
        feeds: Mapping[str, np.ndarray],
        options: SessionOptions,
        rewired: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        self._names = (
            *graph.boundary(nodes, frozenset(rewired or {})),
            *dict.fromkeys((rewired or {}).values()),
        )
        self.wanted = tuple(wanted)
        types = {name: int(np_dtype_to_tensor_dtype(feeds[name].dtype)) for name in self._names}
        self._session = Session(graph.model(nodes, types, self.wanted, rewired), *options, float_qdq=True)

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The wanted tensors, from arrays among which those of the inputs are."""
        return self._session.run({name: feeds[name] for name in self._names}, _WHERE)


class Chain:
    """A graph that has run up to some tensors, for every sample.

    What depends on no input, and each DequantizeLinear of integers that were computed, is made where it is read: so
    integers wait instead of floats.

    Args:
        graph: the graph.
        samples: one feed per sample.
        files: where arrays wait.
        options: as for Session.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        samples: Sequence[Mapping[str, np.ndarray]],
        files: TensorFiles,
        options: SessionOptions,
    ) -> None:
        self.graph, self.samples, self._files, self.options = graph, samples, files, options
        self._maker = {name: at for at, node in enumerate(graph.nodes) for name in node.output if name}
        self._free = self._made_where_read()
        self._done: set[int] = set()
        self._readers: dict[str, set[int]] = {}
        for at in range(len(graph.nodes)):
            for name in graph.reads(at):
                self._readers.setdefault(name, set()).add(at)

    def makes(self, tensor: str) -> bool:
        """Whether some node makes a tensor."""
        return tensor in self._maker

    def position(self, tensor: str) -> int:
        """The node that makes a tensor."""
        return self._maker[tensor]

    def with_free(self, nodes: Iterable[int]) -> list[int]:
        """Nodes, and those of what they read that is made where it is read; in running order."""
        found = set(nodes)
        pending = list(found)
        while pending:
            for name in self.graph.reads(pending.pop()):
                at = self._maker.get(name)
                if at is not None and at in self._free and at not in found:
                    found.add(at)
                    pending.append(at)
        return sorted(found)

    def needed(self, tensors: Iterable[str]) -> list[int]:
        """The nodes that have to run before some tensors are there; in running order."""
        found: set[int] = set()
        pending = [name for name in tensors if name not in self._files]
        while pending:
            at = self._maker.get(pending.pop())
            if at is None or at in found:
                continue
            found.add(at)
            pending += [name for name in self.graph.reads(at) if name not in self._files]
        return sorted(found)

    def advance(self, tensors: Sequence[str]) -> None:
        """Runs what is missing for some tensors; they wait in files then, with all that other nodes will read."""
        nodes = self.needed(tensors)
        running = self.with_free(nodes)
        fixed = [at for at in running if at not in self._free]
        done = self._done | set(fixed)
        made = [name for at in fixed for name in self.graph.nodes[at].output if name]
        kept = [name for name in made if name in tensors or self._is_read(name, done)]
        if kept:
            step = Step(self.graph, running, kept, self.feeds(0), self.options)
            for sample in range(len(self.samples)):
                for name, array in zip(kept, step.run(self.feeds(sample)), strict=True):
                    self._files.write(name, sample, array)
        self._done = done

    def put(self, nodes: Iterable[int], tensor: str, arrays: Iterable[np.ndarray]) -> None:
        """Takes nodes as done that were run elsewhere.

        Args:
            nodes: positions.
            tensor: the only thing they make that other nodes read.
            arrays: the tensor for every sample.
        """
        for sample, array in enumerate(arrays):
            self._files.write(tensor, sample, array)
        self._done.update(nodes)

    def sweep(self, keep: Iterable[str] = ()) -> None:
        """Forgets what no node will read, unless it is an output of the graph or among `keep`."""
        kept = set(keep)
        for name in self._files.names():
            if name not in kept and not self._is_read(name, self._done):
                self._files.drop(name)

    def feeds(self, sample: int) -> dict[str, np.ndarray]:
        """The arrays of a sample by name: its inputs, and what waits, read when it is asked for."""
        return _Waiting(self._files, sample, self.samples[sample])

    def _is_read(self, name: str, done: set[int]) -> bool:
        """Whether a node that has not run reads a tensor, by itself or through what is made where it is read."""
        if name in self.graph.outputs:
            return True
        for at in self._readers.get(name, ()):
            if at in self._free:
                if any(self._is_read(output, done) for output in self.graph.nodes[at].output):
                    return True
            elif at not in done:
                return True
        return False

    def _made_where_read(self) -> frozenset[int]:
        dependent = set(self.graph.inputs)
        found = set()
        for at, node in enumerate(self.graph.nodes):
            if dependent.isdisjoint(self.graph.reads(at)):
                found.add(at)
                continue
            dependent.update(node.output)
            if node.op_type == "DequantizeLinear" and not set(node.output) & set(self.graph.outputs):
                found.add(at)
        return frozenset(found)


class _Waiting(dict[str, np.ndarray]):
    """The arrays of one sample; those in files are read when they are asked for."""

    def __init__(self, files: TensorFiles, sample: int, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self._files, self._sample = files, sample

    def __missing__(self, name: str) -> np.ndarray:
        return self._files.read(name, self._sample)
