"""From a network to what is timed: the innermost blocks of its deployed graph, and runs of single ops between them.

In a network where blocks read the same values, as in a cell, all kernels are units instead.

A unit is timed as one; the kernels in it are the ops that a runtime runs as one.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import ceil, prod
from typing import Any, NamedTuple

from search_spaces.builder import Builder
from search_spaces.deploy import deploy, flattened
from search_spaces.graph import Attrs, Graph, Item, Node, Shape

BYTES = 4
_LANES = 16  # channels that a runtime of the blocked kind computes together


class Unit(NamedTuple):
    """A piece of a network that is timed as one: its identity (with shapes) and its deployed graph."""

    key: str
    graph: Graph


def units(graph: Graph) -> tuple[Unit, ...]:
    """The units of a training graph in order of execution, repeated as often as they run.

    Their times add up to that of the network, apart from what the composition fits. A network whose outputs depend
    on no input has none: runtimes compute it once, when they load it. What a unit is, is memoised per block graph,
    and spaces share block graphs.
    """
    if graph.memo("latency_forks", _forks):
        flat: tuple[Unit, ...] = graph.memo("latency_flat_units", _flat_units)
        return flat
    found: list[Unit] = []
    for value, item in enumerate(graph.items):
        # in a plain chain of blocks each block deploys by itself, and the whole need not be rewritten
        if not isinstance(item.op, Graph) or item.inputs != (value,) or len(item.shapes) != 1:
            return _general(graph)
        of_block: tuple[Unit, ...] | None = item.op.memo("latency_units", _block_units)
        if of_block is None:
            return ()
        found += of_block
    if len(graph.inputs) != 1 or graph.outputs != (len(graph.items),):
        return _general(graph)
    return tuple(found)


class Kernel(NamedTuple):
    """Ops that run as one: the names of their nodes in the deployed network, and the kernel as a unit of its own."""

    nodes: tuple[str, ...]
    unit: Unit


class NamedUnit(NamedTuple):
    """A unit at its place in a network, and its kernels in order of execution."""

    unit: Unit
    kernels: tuple[Kernel, ...]


Fusion = frozenset[tuple[str, str]]
"""Pairs of a kernel's first op (its family) and an op that joins the kernel when it alone reads its result."""

_ACTIVATIONS = ("relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "silu", "gelu", "tanh")
DEFAULT_FUSION: Fusion = frozenset(
    (family, op)
    for family in ("conv", "depthwise", "grouped", "linear")
    for op in (*_ACTIVATIONS, "add", "batch_norm", "scale")
) | {("add", "relu"), ("add", "relu6")}
"""What most runtimes fuse, for devices whose own graph nobody can read."""


def named_units(graph: Graph, fusion: Fusion = DEFAULT_FUSION) -> tuple[NamedUnit, ...]:
    """The units of a training graph as ``units`` gives them, with the names and kernels in each. Not memoised."""
    found: list[NamedUnit] = []
    if is_constant(graph):
        return ()
    if graph.memo("latency_forks", _forks):
        return tuple([NamedUnit(kernel.unit, (kernel,)) for kernel in _flat_kernels(graph).kernels])
    blocks = blocks_of_chain(graph)
    if blocks is None:
        return tuple(_named(deploy(graph)[0], "", fusion))
    for item, block in zip(graph.items, blocks, strict=True):
        found += _named(deploy(block)[0], f"{item.name}.", fusion)
    return tuple(found)


def _named(deployed: Graph, prefix: str, fusion: Fusion) -> list[NamedUnit]:
    found: list[NamedUnit] = []
    run: list[tuple[int, Item]] = []

    def close() -> None:
        for unit in _run_units(deployed, run):
            found.append(_with_kernels(unit, [f"{prefix}{item.name}" for _, item in run], fusion))
        run.clear()

    value = len(deployed.inputs)
    for item in deployed.items:
        if isinstance(item.op, Graph):
            close()
            found += _named(item.op, f"{prefix}{item.name}.", fusion)
        else:
            run.append((value, item))
        value += len(item.shapes)
    close()
    return found


def unit_kernels(unit: Unit, fusion: Fusion = DEFAULT_FUSION) -> tuple[Unit, ...]:
    """The kernels of a unit, each as a unit of its own."""
    names = [item.name for item in unit.graph.items]
    return tuple([kernel.unit for kernel in _with_kernels(unit, names, fusion).kernels])


def _with_kernels(unit: Unit, names: list[str], fusion: Fusion) -> NamedUnit:
    """The unit with its ops gathered into kernels; ``names`` are those of its items, in order."""
    graph = unit.graph
    inputs = len(graph.inputs)
    readers = Counter(v for item in graph.items for v in item.inputs) + Counter(graph.outputs)
    groups: list[list[tuple[int, Item]]] = []
    made_by: dict[int, int] = {}  # value -> the group whose last op makes it
    for value, item in enumerate(graph.items, start=inputs):
        joined = None
        for read in reversed(item.inputs):
            group = made_by.get(read)
            if group is not None and readers[read] == 1 and (_head(graph, groups[group]), str(item.op)) in fusion:
                joined = group
                break
        if joined is None:
            groups.append([])
            joined = len(groups) - 1
        groups[joined].append((value, item))
        made_by = {v: g for v, g in made_by.items() if g != joined} | {value: joined}
    kernels = []
    for group_items in groups:
        (kernel,) = _run_units(graph, group_items)
        kernels.append(Kernel(tuple(names[value - inputs] for value, _ in group_items), kernel))
    return NamedUnit(unit, tuple(kernels))


def _head(graph: Graph, group: list[tuple[int, Item]]) -> str:
    _, item = group[0]
    return _op_family(str(item.op), item.attrs, graph.value_shapes[item.inputs[0]])


def blocks_of_chain(graph: Graph) -> tuple[Graph, ...] | None:
    """The blocks of a plain chain of blocks, each of which deploys by itself; None for any other graph."""
    found = []
    for value, item in enumerate(graph.items):
        if not isinstance(item.op, Graph) or item.inputs != (value,) or len(item.shapes) != 1:
            return None
        found.append(item.op)
    return tuple(found) if len(graph.inputs) == 1 and graph.outputs == (len(found),) else None


def _block_units(block: Graph) -> tuple[Unit, ...] | None:
    """The units of a block; None where its result is always the same."""
    return None if is_constant(block) else _units_of(deploy(block)[0])


def _general(graph: Graph) -> tuple[Unit, ...]:
    if is_constant(graph):
        return ()
    deployed, _ = deploy(graph)
    return _split(deployed)


def is_constant(graph: Graph) -> bool:
    """Whether no output depends on an input, so that nothing is left to run."""
    needed: tuple[frozenset[int], ...] = graph.memo("latency_reads", _reads)
    return not any(needed)


def _reads(graph: Graph) -> tuple[frozenset[int], ...]:
    """The inputs on which the values of each output depend."""
    reads = [frozenset([i]) for i in range(len(graph.inputs))]
    for item in graph.items:
        if isinstance(item.op, Graph):
            inner: tuple[frozenset[int], ...] = item.op.memo("latency_reads", _reads)
            reads += [frozenset().union(*(reads[item.inputs[i]] for i in needed)) for needed in inner]
        elif item.op == "zeros":
            reads.append(frozenset())
        else:
            reads.append(frozenset().union(*(reads[v] for v in item.inputs)))
    return tuple([reads[value] for value in graph.outputs])


def _units_of(deployed: Graph) -> tuple[Unit, ...]:
    """A block of single ops is a unit; a block of blocks is split, for there are far fewer parts than wholes."""
    if any(isinstance(item.op, Graph) for item in deployed.items):
        return _split(deployed)
    return (Unit(deployed.fingerprint, deployed),) if deployed.items else ()


def _forks(graph: Graph) -> bool:
    """Whether several blocks read one value somewhere inside, as in a cell.

    What such blocks do alike a runtime does once, and layers join the sums that read them, and what follows: no block
    runs as it does alone.
    """
    read = [v for item in graph.items if isinstance(item.op, Graph) for v in set(item.inputs)]
    inner = (item.op for item in graph.items if isinstance(item.op, Graph))
    return len(set(read)) < len(read) or any(block.memo("latency_forks", _forks) for block in inner)


def executed(graph: Graph) -> Graph:
    """The deployed network of a training graph as it is timed: without its blocks where it forks."""
    deployed = deploy(graph)[0]
    return flattened(deployed) if graph.memo("latency_forks", _forks) else deployed


def _flat_kernels(graph: Graph) -> NamedUnit:
    """The kernels of a whole network that forks."""
    flat = executed(graph)
    return _with_kernels(Unit("", flat), [item.name for item in flat.items], DEFAULT_FUSION)


def _flat_units(graph: Graph) -> tuple[Unit, ...]:
    return () if is_constant(graph) else tuple([kernel.unit for kernel in _flat_kernels(graph).kernels])


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
    return _op_family(node.op, node.attrs, in_shape)


def kind_of(unit: Unit) -> str:
    """The family of the first op of a kernel, which takes most of its time."""
    return _head(unit.graph, [(0, unit.graph.items[0])])


def _op_family(op: str, attrs: Attrs, in_shape: Shape) -> str:
    if op != "conv" or attrs["groups"] == 1:
        return op
    return "depthwise" if attrs["groups"] == in_shape[0] else "grouped"


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
