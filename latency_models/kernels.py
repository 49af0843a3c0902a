"""From a network to what is timed: the innermost blocks of its deployed graph, and runs of single ops between them.

In a network where blocks read the same values, as in a cell, all kernels are units instead.

A unit is timed as one; the kernels in it are the ops that a runtime runs as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache, partial
from math import ceil, prod
from typing import Any, NamedTuple

from latency_models.kernel_rules import DEFAULT_RULES, Group, KernelRules, gather, head_family, op_family
from search_spaces.builder import Builder
from search_spaces.deploy import deploy, flattened
from search_spaces.graph import Graph, Node, Shape

BYTES = 4
_JOINING = ("relu", "relu6", "batch_norm")
_LANES = 16  # channels that a runtime of the blocked kind computes together


class Unit(NamedTuple):
    """A piece of a network that is timed as one: its identity (with shapes) and its deployed graph."""

    key: str
    graph: Graph


def units(graph: Graph, rules: KernelRules = DEFAULT_RULES) -> tuple[Unit, ...]:
    """The units of a training graph in order of execution, repeated as often as they run; ``rules`` of the runtime.

    Their times add up to that of the network, apart from what the composition fits. A network whose outputs depend
    on no input has none: runtimes compute it once, when they load it. What a unit is, is memoised per block graph,
    and spaces share block graphs.
    """
    found: list[Unit] = []
    for value, item in enumerate(graph.items):
        # in a plain chain of blocks each block deploys by itself, and the whole need not be rewritten
        if not isinstance(item.op, Graph) or item.inputs != (value,) or len(item.shapes) != 1:
            return _general(graph, rules)
        of_block: tuple[Unit, ...] | None = item.op.memo("latency_units", _block_units)
        if of_block is None:  # it is constant, or its kernels reach beyond it
            return _general(graph, rules)
        found += of_block
    if len(graph.inputs) != 1 or graph.outputs != (len(graph.items),):
        return _general(graph, rules)
    return tuple(found)


class Kernel(NamedTuple):
    """Ops that run as one: the names of their nodes in the deployed network, and the kernel as a unit of its own."""

    nodes: tuple[str, ...]
    unit: Unit


class NamedUnit(NamedTuple):
    """A unit at its place in a network, and its kernels in order of execution."""

    unit: Unit
    kernels: tuple[Kernel, ...]


def named_units(graph: Graph, rules: KernelRules = DEFAULT_RULES) -> tuple[NamedUnit, ...]:
    """The units of a training graph as ``units`` gives them, with the names and kernels in each. Not memoised."""
    found: list[NamedUnit] = []
    if is_constant(graph):
        return ()
    if graph.memo("latency_crossed", _crossed):
        return tuple([NamedUnit(kernel.unit, (kernel,)) for kernel in _flat_kernels(graph, rules)])
    blocks = blocks_of_chain(graph)
    if blocks is None:
        return tuple(_named(deploy(graph)[0], "", rules))
    for item, block in zip(graph.items, blocks, strict=True):
        found += _named(deploy(block)[0], f"{item.name}.", rules)
    return tuple(found)


def _named(deployed: Graph, prefix: str, rules: KernelRules) -> list[NamedUnit]:
    found: list[NamedUnit] = []
    run: Group = []

    def close() -> None:
        for unit in _run_units(deployed, run):
            names = [f"{prefix}{item.name}" for _, item in run]
            found.append(NamedUnit(unit, _kernels(unit.graph, names, rules)))
        run.clear()

    value = len(deployed.inputs)
    for item in deployed.items:
        if isinstance(item.op, Graph):
            close()
            found += _named(item.op, f"{prefix}{item.name}.", rules)
        else:
            run.append((value, item))
        value += len(item.shapes)
    close()
    return found


def unit_kernels(unit: Unit, rules: KernelRules = DEFAULT_RULES) -> tuple[Unit, ...]:
    """The kernels of a unit, each as a unit of its own."""
    names = [item.name for item in unit.graph.items]
    return tuple([kernel.unit for kernel in _kernels(unit.graph, names, rules)])


def _kernels(graph: Graph, names: Sequence[str], rules: KernelRules) -> tuple[Kernel, ...]:
    """The kernels of a graph without blocks; ``names`` are those of its items, in order."""
    first = len(graph.inputs)
    found = []
    for group in gather(graph, rules):
        (unit,) = _run_units(graph, group)
        found.append(Kernel(tuple([names[value - first] for value, _ in group]), unit))
    return tuple(found)


def blocks_of_chain(graph: Graph) -> tuple[Graph, ...] | None:
    """The blocks of a plain chain of blocks, each of which deploys by itself; None for any other graph."""
    found = []
    for value, item in enumerate(graph.items):
        if not isinstance(item.op, Graph) or item.inputs != (value,) or len(item.shapes) != 1:
            return None
        found.append(item.op)
    return tuple(found) if len(graph.inputs) == 1 and graph.outputs == (len(found),) else None


def _block_units(block: Graph) -> tuple[Unit, ...] | None:
    """The units of a block; None where its result is always the same, or its kernels reach beyond it."""
    return None if is_constant(block) or _reaches(block) else _units_of(deploy(block)[0])


def _general(graph: Graph, rules: KernelRules) -> tuple[Unit, ...]:
    found: tuple[Unit, ...] = graph.memo(("latency_general", rules), partial(_general_units, rules=rules))
    return found


def _general_units(graph: Graph, rules: KernelRules) -> tuple[Unit, ...]:
    if is_constant(graph):
        return ()
    if graph.memo("latency_crossed", _crossed):
        return tuple([kernel.unit for kernel in _flat_kernels(graph, rules)])
    return _split(deploy(graph)[0])


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


def _crossed(graph: Graph) -> bool:
    """Whether kernels reach across blocks: several read one value somewhere inside, as in a cell, or one begins with
    an activation or a norm, which joins the layer before it.

    What blocks that read one value do alike a runtime does once, and layers join the sums that read them, and what
    follows: no block runs as it does alone.
    """
    read = [v for item in graph.items if isinstance(item.op, Graph) for v in set(item.inputs)]
    if len(set(read)) < len(read):
        return True
    return any(item.op.memo("latency_reaches", _reaches) for item in graph.items if isinstance(item.op, Graph))


def _reaches(block: Graph) -> bool:
    """Whether kernels reach across the blocks in a block, or out of it."""
    first = range(len(block.inputs))
    joins = any(item.op in _JOINING and any(v in first for v in item.inputs) for item in block.items)
    return joins or _crossed(block)


def executed(graph: Graph) -> Graph:
    """The deployed network of a training graph as it is timed: without its blocks where kernels reach across them."""
    deployed = deploy(graph)[0]
    return flattened(deployed) if graph.memo("latency_crossed", _crossed) else deployed


def _flat_kernels(graph: Graph, rules: KernelRules) -> tuple[Kernel, ...]:
    """The kernels of a whole network, which reach across its blocks."""
    flat = executed(graph)
    return _kernels(flat, [item.name for item in flat.items], rules)


def _split(deployed: Graph) -> tuple[Unit, ...]:
    found: list[Unit] = []
    run: Group = []
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


def _run_units(graph: Graph, run: Group) -> tuple[Unit, ...]:
    """Some single ops as one unit, with values and weights renumbered so that equal runs are equal."""
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
    readers: dict[int, frozenset[int]] = graph.memo("latency_readers", _readers)
    outputs = tuple([number[value] for value, _ in run if not readers[value] <= made])
    return _run_graph(tuple([graph.value_shapes[v] for v in outside]), tuple(steps), outputs)


def _readers(graph: Graph) -> dict[int, frozenset[int]]:
    """The values for which each value is read; -1 stands for a result of the graph."""
    found: dict[int, set[int]] = {value: set() for value in range(len(graph.value_shapes))}
    value = len(graph.inputs)
    for item in graph.items:
        for read in item.inputs:
            found[read].add(value)
        value += len(item.shapes)
    for read in graph.outputs:
        found[read].add(-1)
    return {value: frozenset(by) for value, by in found.items()}


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
    return op_family(node.op, node.attrs, in_shape)


def kind_of(unit: Unit) -> str:
    """The family of the first op of a kernel, which takes most of its time."""
    return head_family(unit.graph, [(0, unit.graph.items[0])])


def features(unit: Unit) -> dict[str, float]:
    """What the time of a unit depends on, for one input: per family of ops its MACs, those of each window, MACs with
    channels filled up to whole vectors, bytes moved and number of nodes; bytes of weights, inputs and outputs.
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
            macs = taps * node.shape[0] * (read[0][0] // node.attrs["groups"])
            found[f"macs:{family}"] += macs
            if (window := max(node.attrs["kernel"])) > 1:  # runtimes have code of its own for some windows
                found[f"macs:{family}:{window}"] += macs
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
