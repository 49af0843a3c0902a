"""From the network that is trained to the network that runs: one list of passes.

A pass drops what only training needs, or folds a batch norm into the layer before it. The structure is
rewritten once per block graph; weights follow by the list of folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.builder import Builder, Value
from search_spaces.cost import readers
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph, Item
from search_spaces.ops import OPS

Weights = dict[str, NDArray[np.float32]]
"""Tensors by ``<entry>.<tensor>``."""


class Fold(NamedTuple):
    """A batch norm that disappears into the layer that it follows; entries as named in the graph."""

    layer: str
    norm: str
    eps: float


def deploy(graph: Graph, weights: Mapping[str, NDArray[Any]] | None = None) -> tuple[Graph, Weights]:
    """The deployed graph and its weights; without weights the second is empty.

    Equal to the training graph in eval mode up to rounding; folding computes in float64.
    Raises: InvalidGraph if a tensor is missing or has another shape.
    """
    deployed, _, _ = _rewritten(graph)
    if weights is None:
        return deployed, {}
    check_weights(graph, weights)
    folded = {fold.layer: fold for fold in _folds(graph)}
    out: Weights = {}
    for entry, tensors in deployed.entries().items():
        if entry in folded:
            out[f"{entry}.weight"], out[f"{entry}.bias"] = _fold(weights, folded[entry])
        else:
            for tensor in tensors:
                out[f"{entry}.{tensor}"] = np.ascontiguousarray(weights[f"{entry}.{tensor}"], dtype=np.float32)
    return deployed, out


def check_weights(graph: Graph, weights: Mapping[str, NDArray[Any]]) -> None:
    """Raises InvalidGraph naming the first tensor that is missing or has another shape."""
    for entry, tensors in graph.entries().items():
        for tensor, weight in tensors.items():
            given = weights.get(f"{entry}.{tensor}")
            if given is None or tuple(given.shape) != weight.shape:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise InvalidGraph(f"weight {entry}.{tensor} is {found}", hint=f"shape {weight.shape}")


def _fold(weights: Mapping[str, NDArray[Any]], fold: Fold) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    def get(name: str) -> NDArray[np.float64]:
        return np.asarray(weights[name], dtype=np.float64)

    scale = get(f"{fold.norm}.weight") / np.sqrt(get(f"{fold.norm}.running_var") + fold.eps)
    kernel = get(f"{fold.layer}.weight")
    bias = get(f"{fold.layer}.bias") if f"{fold.layer}.bias" in weights else 0.0
    kernel = kernel * scale.reshape(-1, *(1,) * (kernel.ndim - 1))
    bias = get(f"{fold.norm}.bias") + (bias - get(f"{fold.norm}.running_mean")) * scale
    return kernel.astype(np.float32), bias.astype(np.float32)


_Block = tuple[Graph, tuple[int, ...], bool]


def _rewritten(graph: Graph) -> _Block:
    block: _Block = graph.memo("deployed", _rewrite)
    return block


def _norms(graph: Graph) -> dict[int, int]:
    """Index of a layer -> index of the batch norm that folds into it, among the items of this graph."""
    reads = readers(graph)
    used = Counter(item.weights for item in graph.items)
    made: dict[int, int] = {}
    value = len(graph.inputs)
    pairs = {}
    for index, item in enumerate(graph.items):
        if item.op == "batch_norm":
            layer = made.get(item.inputs[0])
            # a value that others read keeps its value, an entry that others share keeps its weights
            if layer is not None and reads[item.inputs[0]] == 1 and item.inputs[0] not in graph.outputs:
                before = graph.items[layer]
                if before.op in ("conv", "linear") and used[before.weights] == used[item.weights] == 1:
                    pairs[layer] = index
        made[value] = index
        value += len(item.shapes)
    return pairs


def _folds(graph: Graph) -> list[Fold]:
    """Every fold of the graph and of the blocks in it."""

    def here(sub: Graph) -> tuple[Fold, ...]:
        return tuple(
            Fold(sub.items[a].weights, sub.items[b].weights, sub.items[b].attrs["eps"]) for a, b in _norms(sub).items()
        )

    found: list[Fold] = []

    def walk(sub: Graph, prefix: str) -> None:
        for fold in sub.memo("folds", here):
            found.append(Fold(prefix + fold.layer, prefix + fold.norm, fold.eps))
        for item in sub.items:
            if isinstance(item.op, Graph):
                walk(item.op, f"{prefix}{item.weights}.")

    walk(graph, "")
    return found


def _alive(graph: Graph) -> list[bool]:
    """Whether an item's result reaches an output."""
    starts = []
    value = len(graph.inputs)
    for item in graph.items:
        starts.append(value)
        value += len(item.shapes)
    needed = set(graph.outputs)
    alive = [False] * len(graph.items)
    for index in reversed(range(len(graph.items))):
        item = graph.items[index]
        if any(v in needed for v in range(starts[index], starts[index] + len(item.shapes))):
            alive[index] = True
            needed.update(item.inputs)
    return alive


def _rewrite(graph: Graph) -> _Block:
    b = Builder(graph.inputs)
    norms = _norms(graph)
    gone = set(norms.values())
    values: list[Value | None] = list(b.inputs)
    for index, (item, alive) in enumerate(zip(graph.items, _alive(graph), strict=True)):
        if not alive:
            values.extend([None] * len(item.shapes))
            continue
        inputs = [values[v] for v in item.inputs]
        given = [v for v in inputs if v is not None]
        if index in gone or (isinstance(item.op, str) and OPS[item.op].train_only):
            values.append(given[0])
        elif isinstance(item.op, Graph):
            values.extend(_call(b, item, item.op, given))
        else:
            attrs = {**item.attrs, "bias": True} if index in norms else dict(item.attrs)
            values.append(b.op(item.name, item.op, *given, weights=item.weights, **attrs))
    outputs = [values[v] for v in graph.outputs]
    return b.close([v for v in outputs if v is not None])


def _call(b: Builder, item: Item, block: Graph, inputs: list[Value]) -> list[Value]:
    sub, returned, _ = _rewritten(block)
    # dropping items may have made two inputs one
    distinct = tuple(dict.fromkeys(inputs))
    if len(distinct) < len(inputs):
        sub = _merge_inputs(sub, tuple(distinct.index(v) for v in inputs))
    made = b.call(item.name, sub, distinct, item.weights) if sub.items else ()
    return [inputs[~i] if i < 0 else made[i] for i in returned]


def _merge_inputs(graph: Graph, position: tuple[int, ...]) -> Graph:
    """The graph with several of its inputs taken as one: input ``i`` becomes input ``position[i]``."""
    kept = max(position) + 1
    shift = len(position) - kept

    def moved(value: int) -> int:
        return position[value] if value < len(position) else value - shift

    inputs = tuple(graph.inputs[position.index(i)] for i in range(kept))
    items = tuple(item._replace(inputs=tuple(moved(v) for v in item.inputs)) for item in graph.items)
    outputs = tuple(moved(v) for v in graph.outputs)
    return Graph(inputs, items, outputs, graph.output_shapes, graph.params, graph.macs, graph.matmul_macs)
