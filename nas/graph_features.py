"""A network's form in some numbers, alike for every space: what it is made of, and how its paths run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from math import log1p, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import LAYER_OPS, Graph, Layer, Node, layer_of

Floats = NDArray[np.float64]

_LAYERS: Mapping[str, Callable[[Layer], bool]] = {
    "depthwise": lambda layer: bool(layer.kernel) and layer.groups == layer.in_channels > 1,
    "conv1": lambda layer: prod(layer.kernel) == 1 and bool(layer.kernel),
    "conv3": lambda layer: 1 < prod(layer.kernel) <= 9,
    "conv5": lambda layer: prod(layer.kernel) > 9,
    "linear": lambda layer: not layer.kernel,
}
"""Kinds of layers; the first that fits counts."""
_OPS: Mapping[str, frozenset[str]] = {
    "pool": frozenset({"avg_pool", "max_pool", "blur_pool"}),
    "sum": frozenset({"add", "add_broadcast"}),
    "product": frozenset({"mul", "mul_broadcast", "matmul"}),
    "concat": frozenset({"concat"}),
}
_OF_OP = {op: kind for kind, ops in _OPS.items() for op in ops}
_SPATIAL = ("depthwise", "conv3", "conv5")
NAMES = (
    "log_params", "log_macs",
    *(f"log_{what}_{kind}" for kind in _LAYERS for what in ("count", "macs")),
    *(f"log_count_{kind}" for kind in _OPS),
    "log_paths", "longest_path", "shortest_path", "mean_path", "mean_path_spatial", "mean_path_pool",
)  # fmt: skip
"""What the numbers are: counts, multiply-accumulates, and layers on the paths from input to output."""


class _Way(NamedTuple):
    """Paths from one value to another: how many, the most and the least layers, and sums over them of three counts."""

    paths: float
    longest: float
    shortest: float
    layers: float
    spatial: float
    pools: float

    def then(self, next_: _Way) -> _Way:
        """Every path of this followed by every one of the next."""
        return _Way(
            self.paths * next_.paths,
            self.longest + next_.longest,
            self.shortest + next_.shortest,
            self.layers * next_.paths + self.paths * next_.layers,
            self.spatial * next_.paths + self.paths * next_.spatial,
            self.pools * next_.paths + self.paths * next_.pools,
        )

    def beside(self, other: _Way) -> _Way:
        """The paths of both."""
        return _Way(
            self.paths + other.paths,
            max(self.longest, other.longest),
            min(self.shortest, other.shortest),
            self.layers + other.layers,
            self.spatial + other.spatial,
            self.pools + other.pools,
        )


_HERE = _Way(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_From = Mapping[int, _Way]
"""The ways to a value from those inputs of a graph that reach it."""


class _Form(NamedTuple):
    """Of a graph: how many of each kind, the MACs of each kind of layer, and the ways to each output."""

    counts: Mapping[str, int]
    macs: Mapping[str, int]
    ways: tuple[_From, ...]


def graph_features(graph: Graph) -> Floats:
    """(len(NAMES),) of a network; sizes as log(1 + x). A path that reaches no output does not count.

    Means over paths, and not weighted by anything else: a skip connection halves what it goes around.
    """
    form: _Form = graph.memo("form", _form)
    found = [log1p(graph.params), log1p(graph.macs)]
    for kind in _LAYERS:
        found += [log1p(form.counts.get(kind, 0)), log1p(form.macs.get(kind, 0))]
    found += [log1p(form.counts.get(kind, 0)) for kind in _OPS]
    ends = [way for ways in form.ways for way in ways.values()]
    if not ends:
        return np.array([*found, *[0.0] * 6])
    all_ = reduce(_Way.beside, ends)
    means = [total / all_.paths for total in (all_.layers, all_.spatial, all_.pools)]
    return np.array([*found, log1p(all_.paths), all_.longest, all_.shortest, *means])


def _form(graph: Graph) -> _Form:
    """Blocks are read once each: what is built of known blocks costs little."""
    counts: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    values: list[_From] = [{i: _HERE} for i in range(len(graph.inputs))]
    for item in graph.items:
        taken = [values[i] for i in item.inputs]
        if isinstance(item.op, Graph):
            block: _Form = item.op.memo("form", _form)
            counts.update(block.counts)
            macs.update(block.macs)
            values.extend(_joined((taken[i], way) for i, way in ways.items()) for ways in block.ways)
        else:
            kind, step = _OF_OP.get(item.op), _HERE
            if item.op in LAYER_OPS:
                node = Node(item.name, item.op, (), item.attrs, item.shapes[0], item.weights)
                layer = layer_of(node, graph.value_shapes[item.inputs[0]])
                kind = next(name for name, fits in _LAYERS.items() if fits(layer))
                macs[kind] += layer.macs
                step = _Way(1.0, 1.0, 1.0, 1.0, float(kind in _SPATIAL), 0.0)
            elif kind == "pool":
                step = _HERE._replace(pools=1.0)
            if kind is not None:
                counts[kind] += 1
            values.append(_joined((each, step) for each in taken))
    return _Form(counts, macs, tuple(values[v] for v in graph.outputs))


def _joined(parts: Iterable[tuple[_From, _Way]]) -> _From:
    """The ways to a value that is reached over each of the parts: to its start, and on."""
    found: dict[int, _Way] = {}
    for before, on in parts:
        for start, way in before.items():
            longer = way.then(on)
            found[start] = found[start].beside(longer) if start in found else longer
    return found
