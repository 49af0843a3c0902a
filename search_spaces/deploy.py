"""From the network that is trained to the network that runs: one list of passes.

The passes rewrite the structure, once per block graph; weights follow by the expressions that they leave behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.affine import Below, Expression
from search_spaces.draft import Draft, Rule, Sight, Step
from search_spaces.errors import InvalidGraph
from search_spaces.fold import absorb_norm, fold_factor, fold_norm, fold_scale, freeze_positions, freeze_shift
from search_spaces.graph import Graph, Item, Shape
from search_spaces.merge import merge_branches
from search_spaces.ops import OPS

Weights = dict[str, NDArray[np.float32]]
"""Tensors by ``<entry>.<tensor>``."""

RULES: Mapping[Any, Rule] = {
    "spaced_conv": freeze_positions,
    "sparse_shift": freeze_shift,
    "batch_norm": fold_norm,
    "scale": fold_scale,
    "multiply": fold_factor,
    "conv": absorb_norm,
    "linear": absorb_norm,
    "add": merge_branches,
    "sub": merge_branches,
}
"""How a step of each op is rewritten."""


def deploy(graph: Graph, weights: Mapping[str, NDArray[Any]] | None = None) -> tuple[Graph, Weights]:
    """The deployed graph and its weights; without weights the second is empty.

    What only training needs is dropped. Norms and factors fold into the layers beside them, parallel layers become
    one, learned positions and shifts become plain convolutions. No layer grows. Equal to the training graph in eval
    mode up to rounding: weights are computed in float64.
    Raises: InvalidGraph if a tensor is missing or has another shape.
    """
    deployed: Graph = graph.memo("deployed_network", _network)
    if weights is None:
        return deployed, {}
    check_weights(graph, weights)
    recipes = _recipes(graph)
    out: Weights = {}
    for entry, tensors in deployed.entries().items():
        if entry in recipes:
            changed: Mapping[str, NDArray[Any]] = recipes[entry].evaluate(weights.__getitem__)._asdict()
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


def drop_train_only(draft: Draft) -> Draft:
    """Takes out the ops that are the identity in eval mode."""
    if not any(isinstance(step.item.op, str) and OPS[step.item.op].train_only for step in draft.steps):
        return draft
    same: dict[int, int] = {}
    steps = []
    for step in draft.steps:
        inputs = tuple([same.get(v, v) for v in step.item.inputs])
        if isinstance(step.item.op, str) and OPS[step.item.op].train_only:
            same[step.makes[0]] = inputs[0]
        else:
            steps.append(step._replace(item=step.item._replace(inputs=inputs)))
    return draft._replace(steps=tuple(steps), outputs=tuple([same.get(v, v) for v in draft.outputs]))


def drop_dead(draft: Draft) -> Draft:
    """Takes out the items whose results reach no output."""
    needed = set(draft.outputs)
    steps = []
    for step in reversed(draft.steps):
        if not needed.isdisjoint(step.makes):
            steps.append(step)
            needed.difference_update(step.makes)
            needed.update(step.item.inputs)
    return draft._replace(steps=tuple(reversed(steps)))


def rewrite_layers(draft: Draft) -> Draft:
    """Applies the rule of each op in order of execution, so that a rule finds what came before rewritten."""
    if not any(step.item.op in RULES for step in draft.steps):
        return draft
    sight = Sight(draft)
    for step in draft.steps:
        rule = RULES.get(step.item.op)
        for rewritten in (rule and rule(step, sight)) or (step,):
            sight.add(rewritten)
    return draft._replace(steps=tuple(sight.steps))


def merge_equal(draft: Draft) -> Draft:
    """Computes once what several items compute: the same op or block of the same values, with the same weights if any.

    Two pools of one value, in a cell whose edges skip, are one; runtimes differ in whether they see it. Every value has
    one step that makes it by now.
    """
    if len({step.item.inputs for step in draft.steps}) == len(draft.steps):
        return draft
    same: dict[int, int] = {}
    first: dict[Any, tuple[int, ...]] = {}
    steps = []
    for step in draft.steps:
        inputs = tuple([same.get(v, v) for v in step.item.inputs])
        made = first.setdefault(_computed(step.item, inputs), step.makes)
        if made is step.makes:
            steps.append(step if inputs == step.item.inputs else step._replace(item=step.item._replace(inputs=inputs)))
        else:
            same.update(zip(step.makes, made, strict=True))
    return draft._replace(steps=tuple(steps), outputs=tuple([same.get(v, v) for v in draft.outputs]))


def _computed(item: Item, inputs: tuple[int, ...]) -> Any:
    """Equal for items that compute the same values."""
    if isinstance(item.op, Graph):
        return id(item.op), inputs, item.weights if item.op.entries() else ""
    weights = item.weights if OPS[item.op].weights is not None else ""
    return item.op, repr(sorted(item.attrs.items())), tuple(sorted(inputs)) if item.op == "add" else inputs, weights


def flattened(deployed: Graph) -> Graph:
    """A deployed graph without blocks, as a runtime sees it: what blocks compute alike is merged, sums are of two."""
    flat: Graph = deployed.memo("flattened", _flattened)
    return flat


def _flattened(deployed: Graph) -> Graph:
    steps: list[Step] = []
    shapes = list(deployed.inputs)

    def walk(sub: Graph, names: str, weights: str, inputs: tuple[int, ...]) -> tuple[int, ...]:
        values = list(inputs)
        for item in sub.items:
            taken = tuple([values[v] for v in item.inputs])
            if isinstance(item.op, Graph):
                values.extend(walk(item.op, f"{names}{item.name}.", f"{weights}{item.weights}.", taken))
                continue
            for moved in _of_two(item._replace(name=names + item.name, weights=weights + item.weights, inputs=taken)):
                inside = tuple([v if v >= 0 else len(shapes) - 1 for v in moved.inputs])
                made = tuple(range(len(shapes), len(shapes) + len(moved.shapes)))
                steps.append(Step(moved._replace(inputs=inside), made))
                shapes.extend(moved.shapes)
            values.extend(made)
        return tuple([values[v] for v in sub.outputs])

    outputs = walk(deployed, "", "", tuple(range(len(deployed.inputs))))
    draft = merge_equal(Draft(tuple(shapes), tuple(steps), outputs))
    return _assembled(deployed.inputs, draft, draft.outputs)


def _of_two(item: Item) -> list[Item]:
    """A sum of several as sums of two, as files of networks have them; -1 stands for the value made before."""
    if item.op != "add" or len(item.inputs) <= 2:
        return [item]
    first, *rest = item.inputs
    parts = [f"{item.name}_part{number}" for number in range(1, len(rest))]
    left = [first] + [-1] * len(parts)
    return [
        item._replace(name=name, inputs=(before, term))
        for name, before, term in zip([*parts, item.name], left, rest, strict=True)
    ]


PASSES: tuple[Callable[[Draft], Draft], ...] = (drop_train_only, drop_dead, rewrite_layers, drop_dead, merge_equal)


class _Deployed(NamedTuple):
    """A block after the passes: its graph, what it returns (``~i``: input ``i``), and the layers that changed."""

    graph: Graph
    returned: tuple[int, ...]
    recipes: Mapping[str, Expression]


def _deployed(graph: Graph) -> _Deployed:
    block: _Deployed = graph.memo("deployed", _deploy)
    return block


def _network(graph: Graph) -> Graph:
    """The deployed block with all the outputs of the training graph, those that became one or an input too."""
    block, returned, _ = _deployed(graph)
    if returned == tuple(range(len(block.outputs))):
        return block
    outputs = tuple([block.outputs[i] if i >= 0 else ~i for i in returned])
    return Graph(block.inputs, block.items, outputs, graph.output_shapes, block.params, block.macs, block.matmul_macs)


def _deploy(graph: Graph) -> _Deployed:
    draft = _draft(graph)
    for rewrite in () if _is_chain(draft) else PASSES:
        draft = rewrite(draft)
    made = tuple(dict.fromkeys([v for v in draft.outputs if v >= len(graph.inputs)]))
    returned = tuple([made.index(v) if v >= len(graph.inputs) else ~v for v in draft.outputs])
    recipes: dict[str, Expression] = {}
    for step in draft.steps:
        recipes.update(step.recipes)
    return _Deployed(_assembled(graph.inputs, draft, made), returned, recipes)


def _is_chain(draft: Draft) -> bool:
    """Whether blocks follow each other, each of which deploys by itself: no pass finds anything to do."""
    return draft.outputs == (len(draft.steps),) and all(
        isinstance(step.item.op, Graph) and step.item.inputs == (i,) and step.makes == (i + 1,)
        for i, step in enumerate(draft.steps)
    )


def _recipes(graph: Graph) -> dict[str, Expression]:
    """What every layer that changes becomes, by its entry in the whole network."""
    found: dict[str, Expression] = {}

    def walk(sub: Graph, prefix: str) -> None:
        for item in sub.items:
            if isinstance(item.op, Graph):
                walk(item.op, f"{prefix}{item.weights}.")
        # a caller has the last word on the layers of its blocks
        for entry, recipe in _deployed(sub).recipes.items():
            found[prefix + entry] = Below(prefix, recipe)

    walk(graph, "")
    return found


def _draft(graph: Graph) -> Draft:
    """The graph with its blocks deployed; a value that a block hands through is the one that it was given."""
    same: dict[int, int] = {}
    steps: list[Step] = []
    value = len(graph.inputs)
    for item in graph.items:
        makes = tuple(range(value, value + len(item.shapes)))
        value += len(item.shapes)
        if same:
            item = item._replace(inputs=tuple([same.get(v, v) for v in item.inputs]))
        if isinstance(item.op, str):
            steps.append(Step(item, makes))
        elif (call := _call(item, makes, _deployed(item.op), same)).makes:
            steps.append(call)
    return Draft(graph.value_shapes, tuple(steps), tuple([same.get(v, v) for v in graph.outputs]))


def _call(item: Item, makes: tuple[int, ...], block: _Deployed, same: dict[int, int]) -> Step:
    """The call of a deployed block; enters into ``same`` the values that equal others."""
    made: dict[int, int] = {}
    for value, index in zip(makes, block.returned, strict=True):
        equal = item.inputs[~index] if index < 0 else made.setdefault(index, value)
        if equal != value:
            same[value] = equal
    graph, inputs = block.graph, tuple(dict.fromkeys(item.inputs))
    if len(inputs) < len(item.inputs):  # dropping items may have made two inputs one
        graph = _merge_inputs(graph, tuple([inputs.index(v) for v in item.inputs]))
    item = item._replace(op=graph, inputs=inputs, shapes=graph.output_shapes)
    return Step(item, tuple([made[index] for index in sorted(made)]), inner=block.recipes)


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


def _assembled(inputs: tuple[Shape, ...], draft: Draft, outputs: tuple[int, ...]) -> Graph:
    """The steps as a graph, with values renumbered; names are those of the training graph, so they are valid."""
    number = {value: value for value in range(len(inputs))}
    params: dict[str, int] = {}
    items: list[Item] = []
    macs = matmul_macs = 0
    for item, makes, _, _ in draft.steps:
        if isinstance(item.op, Graph):
            params[item.weights] = item.op.params
            macs += item.op.macs
            matmul_macs += item.op.matmul_macs
        else:
            row, read = OPS[item.op], tuple([draft.shapes[v] for v in item.inputs])
            if row.weights is not None:
                tensors = row.weights(item.attrs, read).values()
                params[item.weights] = sum([prod(tensor.shape) for tensor in tensors if tensor.trainable])
            macs += row.macs(item.attrs, read, item.shapes[0]) if row.macs else 0
            matmul_macs += row.matmul_macs(item.attrs, read, item.shapes[0]) if row.matmul_macs else 0
        moved = tuple([number[v] for v in item.inputs])
        items.append(item if moved == item.inputs else item._replace(inputs=moved))
        for value in makes:
            number[value] = len(number)
    shapes = tuple([draft.shapes[v] for v in outputs])
    return Graph(
        inputs, tuple(items), tuple([number[v] for v in outputs]), shapes, sum(params.values()), macs, matmul_macs
    )
