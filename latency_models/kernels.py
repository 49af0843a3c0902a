"""From a network to what is timed: the innermost blocks of its deployed graph, and runs of single ops between them."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

from search_spaces.builder import Builder
from search_spaces.deploy import deploy
from search_spaces.graph import Graph, Item, Node, Shape

BYTES = 4
_LANES = 16  # channels that a runtime of the blocked kind computes together


class Unit(NamedTuple):
    """A piece of a network that is timed as one: its identity (with shapes) and its deployed graph."""

    key: str
    graph: Graph


def units(graph: Graph) -> tuple[Unit, ...]:
    """The units of a training graph in order of execution, repeated as often as they run.

    Their times add up to that of the network, apart from what calibration fits. What a unit is, is memoised
    per block graph, and spaces share block graphs.
    """
    found: list[Unit] = []
    for value, item in enumerate(graph.items):
        # in a plain chain of blocks each block deploys by itself, and the whole need not be rewritten
        if not isinstance(item.op, Graph) or item.inputs != (value,) or len(item.shapes) != 1:
            return _general(graph)
        found += item.op.memo("latency_units", _block_units)
    if len(graph.inputs) != 1 or graph.outputs != (len(graph.items),):
        return _general(graph)
    return tuple(found)


def _block_units(block: Graph) -> tuple[Unit, ...]:
    return _units_of(deploy(block)[0])


def _general(graph: Graph) -> tuple[Unit, ...]:
    deployed, _ = deploy(graph)
    return _split(deployed)


def _units_of(deployed: Graph) -> tuple[Unit, ...]:
    """A block of single ops is a unit; a block of blocks is split, for there are far fewer parts than wholes."""
    if any(isinstance(item.op, Graph) for item in deployed.items):
        return _split(deployed)
    return (Unit(deployed.fingerprint, deployed),) if deployed.items else ()


def _split(deployed: Graph) -> tuple[Unit, ...]:
    found: list[Unit] = []
    run: list[tuple[int, Item]] = []
    value = len(deployed.inputs)
    for item in deployed.items:
        if isinstance(item.op, Graph):
            found += _run_units(deployed, run)
            run = []
            found += item.op.memo("latency_deployed_units", _units_of)
        else:
            run.append((value, item))
        value += len(item.shapes)
    return (*found, *_run_units(deployed, run))


_Step = tuple[str, tuple[int, ...], tuple[tuple[str, Any], ...], int]


def _run_units(graph: Graph, run: list[tuple[int, Item]]) -> tuple[Unit, ...]:
    """Consecutive single ops as one unit, with values and weights renumbered so that equal runs are equal."""
    if not run:
        return ()
    made = {value for value, _ in run}
    outside = list(dict.fromkeys(v for _, item in run for v in item.inputs if v not in made))
    number = {v: i for i, v in enumerate([*outside, *(value for value, _ in run)])}
    entries = list(dict.fromkeys(item.weights for _, item in run))
    steps: list[_Step] = [
        (str(item.op), tuple([number[v] for v in item.inputs]), tuple(item.attrs.items()), entries.index(item.weights))
        for _, item in run
    ]
    read = {v for item in graph.items[graph.items.index(run[-1][1]) + 1 :] for v in item.inputs} | {*graph.outputs}
    outputs = tuple([number[value] for value, _ in run if value in read])
    return _run_graph(tuple([graph.value_shapes[v] for v in outside]), tuple(steps), outputs)


@lru_cache(maxsize=4096)
def _run_graph(inputs: tuple[Shape, ...], steps: tuple[_Step, ...], outputs: tuple[int, ...]) -> tuple[Unit, ...]:
    b = Builder(inputs)
    values = list(b.inputs)
    for index, (op, read, attrs, entry) in enumerate(steps):
        values.append(b.op(f"op{index}", op, *[values[v] for v in read], weights=f"entry{entry}", **dict(attrs)))
    return _units_of(b.build([values[v] for v in outputs]))


def families(unit: Unit) -> frozenset[str]:
    """The kinds of op in a unit; convolutions count as ``conv``, ``depthwise`` or ``grouped``."""
    found: frozenset[str] = unit.graph.memo("latency_families", _families)
    return found


def _families(graph: Graph) -> frozenset[str]:
    shapes = graph.shapes_by_name()
    return frozenset(_family(node, shapes[node.inputs[0]]) for node in graph.nodes)


def _family(node: Node, in_shape: Shape) -> str:
    if node.op != "conv" or node.attrs["groups"] == 1:
        return node.op
    return "depthwise" if node.attrs["groups"] == in_shape[0] else "grouped"


def features(unit: Unit) -> dict[str, float]:
    """What the time of a unit depends on, for one input: per family of ops its MACs, MACs with channels
    filled up to whole vectors, bytes moved and number of nodes; bytes of weights, inputs and outputs.
    """
    graph = unit.graph
    shapes = graph.shapes_by_name()
    found: Counter[str] = Counter()
    for node in graph.nodes:
        read = [shapes[name] for name in node.inputs]
        family = _family(node, read[0])
        found[f"nodes:{family}"] += 1
        found[f"moved:{family}"] += BYTES * (prod(node.shape) + sum(prod(shape) for shape in read))
        if node.op == "conv":
            taps = prod(node.attrs["kernel"]) * prod(node.shape[1:])
            found[f"macs:{family}"] += taps * node.shape[0] * (read[0][0] // node.attrs["groups"])
            filled = _filled(node.shape[0]) * (1 if family == "depthwise" else read[0][0] // node.attrs["groups"])
            found[f"filled:{family}"] += taps * filled
        elif node.op == "linear":
            found["macs:linear"] += prod(read[0]) * node.shape[-1]
        elif node.op == "matmul":
            found["macs:matmul"] += prod(node.shape) * read[0][-1]
    found["weights"] = BYTES * sum(prod(w.shape) for entry in graph.entries().values() for w in entry.values())
    found["inputs"] = BYTES * sum(prod(shape) for shape in graph.inputs)
    found["outputs"] = BYTES * sum(prod(shape) for shape in graph.output_shapes)
    return {name: float(value) for name, value in sorted(found.items())}


def _filled(channels: int) -> int:
    return _LANES * ceil(channels / _LANES)
