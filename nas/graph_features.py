"""A network's form in some numbers, alike for every space: what it is made of, and how its paths run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log1p, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import Graph, Layer, Node

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
NAMES = (
    "log_params", "log_macs",
    *(f"log_{what}_{kind}" for kind in _LAYERS for what in ("count", "macs")),
    *(f"log_count_{kind}" for kind in _OPS),
    "log_paths", "longest_path", "shortest_path", "mean_path", "mean_path_spatial", "mean_path_pool",
)  # fmt: skip
"""What the numbers are: counts, multiply-accumulates, and layers on the paths from input to output."""


class _At(NamedTuple):
    """Paths from the input to a node: how many, the most and the least layers, and sums over them of three counts."""

    paths: float
    longest: float
    shortest: float
    layers: float
    spatial: float
    pools: float


def graph_features(graph: Graph) -> Floats:
    """(len(NAMES),) of a network; sizes as log(1 + x). A path that reaches no output does not count."""
    layers = {layer.name: layer for layer in graph.layers()}
    kinds = {name: next(kind for kind, fits in _LAYERS.items() if fits(layer)) for name, layer in layers.items()}
    found = [log1p(graph.params), log1p(graph.macs)]
    for kind in _LAYERS:
        macs = [layers[name].macs for name, of in kinds.items() if of == kind]
        found += [log1p(len(macs)), log1p(sum(macs))]
    nodes = graph.nodes
    found += [log1p(sum(node.op in ops for node in nodes)) for ops in _OPS.values()]
    return np.array([*found, *_paths(graph, nodes, kinds)])


def _paths(graph: Graph, nodes: tuple[Node, ...], kinds: Mapping[str, str]) -> list[float]:
    """log(1 + paths), and of the layers on a path the most, the least, the mean, that with a window, and of pools.

    Means over paths, and not weighted by anything else: a skip connection halves what it goes around.
    """
    start = _At(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    at = dict.fromkeys(graph.input_names, start)
    for node in nodes:
        before = [at[name] for name in node.inputs if name in at]
        if not before:  # a constant
            continue
        is_layer = float(node.name in kinds)
        spatial = float(kinds.get(node.name) in ("depthwise", "conv3", "conv5"))
        pool = float(node.op in _OPS["pool"])
        paths = sum(each.paths for each in before)
        at[node.name] = _At(
            paths,
            max(each.longest for each in before) + is_layer,
            min(each.shortest for each in before) + is_layer,
            sum(each.layers for each in before) + paths * is_layer,
            sum(each.spatial for each in before) + paths * spatial,
            sum(each.pools for each in before) + paths * pool,
        )
    ends = [at[name] for name in graph.output_names if name in at]
    if not ends:
        return [0.0] * 6
    paths = sum(end.paths for end in ends)
    return [
        log1p(paths),
        max(end.longest for end in ends),
        min(end.shortest for end in ends),
        sum(end.layers for end in ends) / paths,
        sum(end.spatial for end in ends) / paths,
        sum(end.pools for end in ends) / paths,
    ]
