"""What a deployed graph becomes in TFLite: tensors and operators in order of execution, before quantisation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import UnsupportedKernel
from search_spaces.graph import Graph, Node, Shape

Make = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
"""A constant in TFLite's layout, out of the weights by ``<entry>.<tensor>``."""


class Filter(NamedTuple):
    """Weights, int8 and symmetric: one scale for each index of ``axis``, or one for all where it is None."""

    make: Make
    axis: int | None


class Bias(NamedTuple):
    """int32, in the product of the scales of these two tensors."""

    make: Make
    input: str
    filter: str


class Number(NamedTuple):
    """One value everywhere, int8."""

    value: float


class Integers(NamedTuple):
    """Axes, sizes and amounts, int32."""

    values: tuple[int, ...]
    shape: tuple[int, ...]


class Tensor(NamedTuple):
    """``shape`` with the batch (1) first and channels last; ``constant`` is None for an activation.

    ``fixed``: the scale and zero point that TFLite demands of this output.
    """

    name: str
    shape: tuple[int, ...]
    constant: Filter | Bias | Number | Integers | None = None
    fixed: tuple[float, int] | None = None


class Operator(NamedTuple):
    """One operator: the builtin's name, its tensors, its options, and the nodes of the graph that run in it."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, Any]
    nodes: tuple[str, ...]


class Program(NamedTuple):
    """``tensors`` in the order of the file; ``group``: for each activation the first that shares its scale."""

    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    group: Mapping[str, str]


class Lowering:
    """A program while the emitters of ``search_spaces.tflite_ops`` write it."""

    def __init__(self, graph: Graph, fusing: frozenset[str], activations: frozenset[str]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []
        self.value: dict[str, str] = {}
        """The tensor of each graph input and node."""
        self._group: dict[str, str] = {}
        self.fused = _fused(graph, fusing, activations)
        for name, shape in zip(graph.input_names, graph.inputs, strict=True):
            self.value[name] = self.activation(name, stored(shape))

    def activation(self, name: str, shape: tuple[int, ...], fixed: tuple[float, int] | None = None) -> str:
        self.tensors[name] = Tensor(name, shape, None, fixed)
        self._group[name] = name
        return name

    def constant(self, name: str, shape: tuple[int, ...], value: Filter | Bias | Number) -> str:
        self.tensors.setdefault(name, Tensor(name, shape, value))
        return name

    def zeros(self, name: str, shape: tuple[int, ...]) -> str:
        """A constant in the place of an activation: it takes the scale of what moves it."""
        self._group[name] = name
        return self.constant(name, shape, Number(0.0))

    def integers(self, name: str, values: Any) -> str:
        array = np.asarray(values, np.int32)
        constant = Integers(tuple(array.ravel().tolist()), array.shape)
        self.tensors.setdefault(name, Tensor(name, array.shape, constant))
        return name

    def inputs(self, node: Node) -> list[str]:
        """The tensors that a node reads."""
        return [self.value[name] for name in node.inputs]

    def part(
        self,
        node: Node,
        name: str,
        kind: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        fixed: tuple[float, int] | None = None,
        **options: Any,
    ) -> str:
        """An operator inside of a node."""
        output = self.activation(name, shape, fixed)
        nodes = (node.name, name) if name == getattr(self.fused.get(node.name), "name", "") else (node.name,)
        self.operators.append(Operator(kind, tuple(inputs), output, options, nodes))
        return output

    def last(
        self, node: Node, kind: str, inputs: Sequence[str], fixed: tuple[float, int] | None = None, **options: Any
    ) -> str:
        """The operator that gives a node's value, with the activation that is fused into it."""
        output = node.name
        if (activation := self.fused.get(node.name)) is not None:
            output, options = activation.name, {**options, "fusedActivationFunction": activation.op.upper()}
        self.value[node.name] = self.value[output] = self.part(
            node, output, kind, inputs, stored(node.shape), fixed, **options
        )
        return output

    def share(self, *names: str) -> None:
        """These activations get one scale and zero point, as TFLite demands of what only moves values."""
        first, *others = [self._group[name] for name in names]
        for other in others:
            self._group = {name: first if group == other else group for name, group in self._group.items()}

    def is_fixed(self, name: str) -> bool:
        group = self._group[name]
        return any(self.tensors[other].fixed for other, found in self._group.items() if found == group)

    def program(self, graph: Graph) -> Program:
        inputs = tuple([self.value[name] for name in graph.input_names])
        outputs = tuple([self.value[name] for name in graph.output_names])
        return Program(self.tensors, tuple(self.operators), inputs, outputs, self._group)


def stored(shape: Shape) -> tuple[int, ...]:
    """The shape that TFLite stores: batch 1 first, and channels last of what has two spatial axes."""
    return (1, *shape[1:], shape[0]) if len(shape) == 3 else (1, *shape)


def stored_axis(axis: int, shape: Shape) -> int:
    """Where an axis of a shape, the batch apart, is stored."""
    axis %= len(shape)
    return (3, 1, 2)[axis] if len(shape) == 3 else axis + 1


def unsupported(node: Node, why: str = "") -> UnsupportedKernel:
    """The error that names an op, or a use of it, that TFLite Micro lacks or that no operator is written for."""
    return UnsupportedKernel(
        f"no int8 TFLite file with {node.op}{why}: {node.name}", hint="use another op, or another runtime"
    )


def _fused(graph: Graph, fusing: frozenset[str], activations: frozenset[str]) -> dict[str, Node]:
    """The activations that run inside of the op before them, which nothing else reads, by that op's name."""
    reads = Counter(graph.output_names)
    for node in graph.nodes:
        reads.update(node.inputs)
    ops = {node.name: node.op for node in graph.nodes}
    return {
        node.inputs[0]: node
        for node in graph.nodes
        if node.op in activations and reads[node.inputs[0]] == 1 and ops.get(node.inputs[0]) in fusing
    }


Emit = Callable[[Lowering, Node, list[Shape]], object]
"""Writes a node, given the shapes of its inputs."""
