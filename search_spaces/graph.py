"""A network as data: items in order of execution, nested wherever a block was called."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from search_spaces.ops import Weight

Shape = tuple[int, ...]
"""Without the batch: (channels, \\*spatial) with 0 to 3 spatial axes, or (tokens, channels)."""
Attrs = Mapping[str, Any]
"""Attributes of an op. Kernel, stride, padding and dilation are tuples, one entry a spatial axis."""


class Item(NamedTuple):
    """A step of a graph: a primitive op, or a block call whose op is itself a graph.

    ``inputs`` are value ids of the graph that holds the item: first the graph's inputs, then the
    outputs of its items in order. ``weights`` names the entry of the weight store, relative to the
    graph; two items with one entry share it.
    """

    name: str
    op: str | Graph
    inputs: tuple[int, ...]
    attrs: Attrs
    shapes: tuple[Shape, ...]
    weights: str


class Node(NamedTuple):
    """A primitive op of the flat network, with names from the root."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Attrs
    shape: Shape
    weights: str


class Layer(NamedTuple):
    """A convolution or linear layer as published tables count it.

    ``kernel``, ``stride``, ``dilation`` and ``out_size`` are empty for a linear layer. ``macs``
    counts every token or position.
    """

    name: str
    op: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    dilation: tuple[int, ...]
    bias: bool
    out_size: tuple[int, ...]
    macs: int


LAYER_OPS = frozenset({"conv", "spaced_conv", "linear"})


class Graph:
    """An immutable network. Built by ``search_spaces.builder.Builder``; readers memoise per object.

    ``inputs`` are the input shapes, ``outputs`` the ids of the output values. ``params`` counts
    trainable weights once per entry; ``macs`` counts convolution and linear layers, ``matmul_macs``
    products of two activations. All for batch 1.
    """

    __slots__ = ("_cache", "inputs", "items", "macs", "matmul_macs", "output_shapes", "outputs", "params")

    def __init__(
        self,
        inputs: tuple[Shape, ...],
        items: tuple[Item, ...],
        outputs: tuple[int, ...],
        output_shapes: tuple[Shape, ...],
        params: int,
        macs: int,
        matmul_macs: int,
    ) -> None:
        self.inputs = inputs
        self.items = items
        self.outputs = outputs
        self.output_shapes = output_shapes
        self.params = params
        self.macs = macs
        self.matmul_macs = matmul_macs
        self._cache: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"Graph({len(self.items)} items, params={self.params:,}, macs={self.macs:,})"

    def memo(self, key: Any, make: Any) -> Any:
        """The value under ``key``, made by ``make(self)`` the first time: how a reader memoises per graph."""
        try:
            return self._cache[key]
        except KeyError:
            value = self._cache[key] = make(self)
            return value

    @property
    def value_shapes(self) -> tuple[Shape, ...]:
        """The shape of every value, by id."""
        shapes: tuple[Shape, ...] = self.memo("value_shapes", _value_shapes)
        return shapes

    @property
    def input_names(self) -> tuple[str, ...]:
        return ("input",) if len(self.inputs) == 1 else tuple(f"input{i}" for i in range(len(self.inputs)))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every primitive op in order of execution, with full names."""
        return self._flat()[0]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the nodes (or graph inputs) that are the outputs."""
        return self._flat()[1]

    @property
    def fingerprint(self) -> str:
        """Hash of the graph without names, equal for isomorphic graphs; see ``search_spaces.fingerprint``."""
        from search_spaces.fingerprint import fingerprint

        value: str = self.memo("fingerprint", fingerprint)
        return value

    def entries(self) -> dict[str, dict[str, Weight]]:
        """Every weight entry with its tensors: ``{entry: {tensor: Weight}}``, in order of first use."""
        found: dict[str, dict[str, Weight]] = self.memo("entries", _entries)
        return found

    def layers(self) -> list[Layer]:
        """Every convolution and linear layer in order of execution."""
        shapes = self.shapes_by_name()
        return [layer_of(node, shapes[node.inputs[0]]) for node in self.nodes if node.op in LAYER_OPS]

    def shapes_by_name(self) -> dict[str, Shape]:
        """The shape of every graph input and node output."""
        shapes = dict(zip(self.input_names, self.inputs, strict=True))
        shapes.update((node.name, node.shape) for node in self.nodes)
        return shapes

    def _flat(self) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        flat: tuple[tuple[Node, ...], tuple[str, ...]] = self.memo("flat", _flatten)
        return flat


def _value_shapes(graph: Graph) -> tuple[Shape, ...]:
    return graph.inputs + tuple(shape for item in graph.items for shape in item.shapes)


def _flatten(graph: Graph) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    nodes: list[Node] = []

    def walk(sub: Graph, names: str, weights: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
        values = list(inputs)
        for item in sub.items:
            name = names + item.name
            taken = tuple([values[i] for i in item.inputs])
            if isinstance(item.op, Graph):
                values.extend(walk(item.op, name + ".", weights + item.weights + ".", taken))
            else:
                nodes.append(Node(name, item.op, taken, item.attrs, item.shapes[0], weights + item.weights))
                values.append(name)
        return tuple([values[v] for v in sub.outputs])

    outputs = walk(graph, "", "", graph.input_names)
    return tuple(nodes), outputs


def _entries(graph: Graph) -> dict[str, dict[str, Weight]]:
    from search_spaces.ops import OPS

    shapes = graph.shapes_by_name()
    found: dict[str, dict[str, Weight]] = {}
    for node in graph.nodes:
        rule = OPS[node.op].weights
        if rule is not None and node.weights not in found:
            found[node.weights] = rule(node.attrs, tuple(shapes[name] for name in node.inputs))
    return found


def layer_of(node: Node, in_shape: Shape) -> Layer:
    """What tables count of a node, one of ``LAYER_OPS``, whose first input has this shape."""
    attrs = node.attrs
    if node.op != "linear":
        size = node.shape[1:]
        macs = prod(node.shape) * (in_shape[0] // attrs["groups"]) * prod(attrs["kernel"])
        return Layer(
            node.name,
            "conv",
            in_shape[0],
            node.shape[0],
            attrs["kernel"],
            attrs["stride"],
            attrs["groups"],
            attrs.get("dilation", (1,) * len(size)),
            attrs["bias"],
            size,
            macs,
        )
    return Layer(
        node.name,
        "linear",
        in_shape[-1],
        node.shape[-1],
        (),
        (),
        1,
        (),
        attrs["bias"],
        (),
        prod(in_shape) * node.shape[-1],
    )
