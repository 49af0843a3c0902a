"""Which nodes of a network run in which kernel, from the names that a runtime's own graph still holds."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from latency_models.runtimes import RuntimeKernel

CONVERSIONS = (".quantise", ".dequantise")
"""How the nodes end that turn an activation into 8-bit values and back."""


def owners(model: onnx.ModelProto) -> dict[str, str]:
    """The node of the deployed network that each node of its ONNX graph was written for.

    A node of the network is written as one node of its name, and others whose names go on after a dot. What belongs
    to an input or a weight belongs to no node.
    """
    graph = model.graph
    others = {value.name for value in graph.input} | {init.name for init in graph.initializer}
    names = dict.fromkeys(node.name for node in graph.node)
    found = {}
    for name in names:
        owner = name
        for i, letter in enumerate(name):
            if letter == "." and (name[:i] in names or name[:i] in others):
                owner = name[:i]
                break
        if owner in names and not _of_weights(name, others):
            found[name] = owner
    return found


def _of_weights(name: str, others: set[str]) -> bool:
    base = next((name.removesuffix(end) for end in CONVERSIONS if name.endswith(end)), name)
    return base in others or f"{base}.int8" in others or f"{base}.int32" in others


def join(kernels: Sequence[tuple[str, Sequence[str]]], owner: dict[str, str]) -> tuple[RuntimeKernel, ...]:
    """Kernels as (op, names of ONNX nodes), in order of execution, with the nodes of the network in each.

    A node is in the kernel that gives its result; kernels that compute only parts of it are joined to that one.
    """
    place: dict[str, int] = {}
    for i, (_, names) in enumerate(kernels):
        for name in names:
            if name in owner and (name == owner[name] or owner[name] not in place):
                place[owner[name]] = i
    for i, (_, names) in enumerate(kernels):
        place.update((name, i) for name in names if owner.get(name) == name)
    nodes: list[list[str]] = [[] for _ in kernels]
    for name, i in place.items():
        nodes[i].append(name)
    ops: list[list[str]] = [[op] for op, _ in kernels]
    for i, (_, names) in enumerate(kernels):
        parts = [owner[name] for name in names if name in owner and not name.endswith(CONVERSIONS)]
        if not nodes[i] and parts and place[parts[-1]] != i:
            target = place[parts[-1]]
            ops[target] = [*ops[i], *ops[target]] if i < target else [*ops[target], *ops[i]]
            ops[i] = []
    order = {name: i for i, name in enumerate(owner)}
    return tuple(
        RuntimeKernel("+".join(parts), tuple(sorted(held, key=order.__getitem__)))
        for parts, held in zip(ops, nodes, strict=True)
        if parts
    )
