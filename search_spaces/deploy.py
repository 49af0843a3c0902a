"""From the network that is trained to the network that runs: one list of passes.

The structure is rewritten once per block graph by the passes of ``search_spaces.deploy_rules``; weights follow by
the expressions that the passes leave behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.affine import Expression, Get
from search_spaces.deploy_rules import PASSES, Draft, Step
from search_spaces.errors import InvalidGraph
from search_spaces.graph import Graph, Item
from search_spaces.ops import OPS

Weights = dict[str, NDArray[np.float32]]
"""Tensors by ``<entry>.<tensor>``."""


def deploy(graph: Graph, weights: Mapping[str, NDArray[Any]] | None = None) -> tuple[Graph, Weights]:
    """The deployed graph and its weights; without weights the second is empty.

    What only training needs is dropped. Batch norms and factors fold into the layers beside them, parallel layers
    become one, learned positions and shifts become plain convolutions. Never more MACs than the training graph, a
    shift apart. Equal to the training graph in eval mode up to rounding; weights are computed in float64.
    Raises: InvalidGraph if a tensor is missing or has another shape.
    """
    deployed = _deployed(graph).graph
    if weights is None:
        return deployed, {}
    check_weights(graph, weights)
    recipes = _recipes(graph)
    out: Weights = {}
    for entry, tensors in deployed.entries().items():
        if entry in recipes:
            prefix, recipe = recipes[entry]
            changed = recipe.evaluate(_below(weights, prefix))._asdict()
        else:
            changed = {tensor: weights[f"{entry}.{tensor}"] for tensor in tensors}
        for tensor in tensors:
            out[f"{entry}.{tensor}"] = np.ascontiguousarray(changed[tensor], dtype=np.float32)
    return deployed, out


def check_weights(graph: Graph, weights: Mapping[str, NDArray[Any]]) -> None:
    """Raises InvalidGraph naming the first tensor that is missing or has another shape."""
    for entry, tensors in graph.entries().items():
        for tensor, weight in tensors.items():
            given = weights.get(f"{entry}.{tensor}")
            if given is None or tuple(given.shape) != weight.shape:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise InvalidGraph(f"weight {entry}.{tensor} is {found}", hint=f"shape {weight.shape}")


def _below(weights: Mapping[str, NDArray[Any]], prefix: str) -> Get:
    return lambda name: weights[prefix + name]


def _recipes(graph: Graph) -> dict[str, tuple[str, Expression]]:
    """What every layer that changes becomes, by its entry, and the prefix of the entries in the expression."""
    found: dict[str, tuple[str, Expression]] = {}

    def walk(sub: Graph, prefix: str) -> None:
        for entry, recipe in _deployed(sub).recipes.items():
            found[prefix + entry] = (prefix, recipe)
        for item in sub.items:
            if isinstance(item.op, Graph):
                walk(item.op, f"{prefix}{item.weights}.")

    walk(graph, "")
    return found


class _Deployed(NamedTuple):
    """A block after the passes: its graph, what it returns (``~i``: input ``i``), and the layers that changed."""

    graph: Graph
    returned: tuple[int, ...]
    recipes: Mapping[str, Expression]


def _deployed(graph: Graph) -> _Deployed:
    block: _Deployed = graph.memo("deployed", _deploy)
    return block


def _deploy(graph: Graph) -> _Deployed:
    draft = _draft(graph)
    for rewrite in PASSES:
        draft = rewrite(draft)
    made = tuple(dict.fromkeys([v for v in draft.outputs if v >= len(graph.inputs)]))
    returned = tuple([made.index(v) if v >= len(graph.inputs) else ~v for v in draft.outputs])
    recipes = {item.weights: recipe for item, _, recipe in draft.steps if recipe is not None}
    return _Deployed(_assembled(graph, draft, made), returned, recipes)


def _assembled(graph: Graph, draft: Draft, outputs: tuple[int, ...]) -> Graph:
    """The steps as a graph, with values renumbered; names and shapes are those of the training graph."""
    number = {value: value for value in range(len(graph.inputs))}
    entries: dict[str, int] = {}
    items: list[Item] = []
    macs = matmul_macs = 0
    for item, makes, _ in draft.steps:
        if isinstance(item.op, Graph):
            entries[item.weights] = item.op.params
            macs += item.op.macs
            matmul_macs += item.op.matmul_macs
        else:
            row, shapes = OPS[item.op], tuple([draft.shapes[v] for v in item.inputs])
            if row.weights is not None:
                needs = row.weights(item.attrs, shapes).values()
                entries[item.weights] = sum([prod(w.shape) for w in needs if w.trainable])
            macs += row.macs(item.attrs, shapes, item.shapes[0]) if row.macs else 0
            matmul_macs += row.matmul_macs(item.attrs, shapes, item.shapes[0]) if row.matmul_macs else 0
        inputs = tuple([number[v] for v in item.inputs])
        items.append(item if inputs == item.inputs else item._replace(inputs=inputs))
        for value in makes:
            number[value] = len(number)
    shapes = tuple([draft.shapes[v] for v in outputs])
    numbers = tuple([number[v] for v in outputs])
    return Graph(graph.inputs, tuple(items), numbers, shapes, sum(entries.values()), macs, matmul_macs)


def _draft(graph: Graph) -> Draft:
    """The graph with its blocks deployed; a value that a block hands through is the one that it was given."""
    same: dict[int, int] = {}
    steps: list[Step] = []
    value = len(graph.inputs)
    for item in graph.items:
        makes = tuple(range(value, value + len(item.shapes)))
        value += len(item.shapes)
        inputs = tuple([same.get(v, v) for v in item.inputs]) if same else item.inputs
        if isinstance(item.op, Graph):
            called, makes = _call(item, item.op, inputs, makes, same)
            if called.items:
                # dropping items may have made two inputs one
                inputs = tuple(dict.fromkeys(inputs))
                steps.append(Step(item._replace(op=called, inputs=inputs, shapes=called.output_shapes), makes))
        else:
            steps.append(Step(item if inputs is item.inputs else item._replace(inputs=inputs), makes))
    outputs = tuple([same.get(v, v) for v in graph.outputs])
    return Draft(graph.value_shapes, tuple(steps), outputs)


def _call(
    item: Item, block: Graph, inputs: tuple[int, ...], makes: tuple[int, ...], same: dict[int, int]
) -> tuple[Graph, tuple[int, ...]]:
    """The deployed block and the values that it still makes; enters into ``same`` those that equal others."""
    called, returned, _ = _deployed(block)
    made: dict[int, int] = {}
    for value, index in zip(makes, returned, strict=True):
        equal = inputs[~index] if index < 0 else made.setdefault(index, value)
        if equal != value:
            same[value] = equal
    distinct = list(dict.fromkeys(inputs))
    if len(distinct) < len(inputs):
        called = _merge_inputs(called, tuple([distinct.index(v) for v in inputs]))
    return called, tuple([made[index] for index in sorted(made)])


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
