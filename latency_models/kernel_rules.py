"""Which ops of a network a runtime runs as one kernel: rules, as its own graph shows them, and how they are applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from search_spaces.graph import Attrs, Graph, Item, Shape

Group = list[tuple[int, Item]]
"""Ops that run as one, each with the value that it makes, in order."""


class KernelRules(NamedTuple):
    """The rules of a runtime.

    ``joins``: the family of a kernel's first op, and an op that joins the kernel where it alone reads its result. A
    kernel takes in one sum. ``closing``: nothing joins after these. ``folded``: these join only a layer by itself, into
    whose weights they go. ``in_place``: a sum is written over what is added,
    so that it joins only where nobody reads that any more. ``chained``: ops that run as one where they read each other,
    whoever else does.
    """

    joins: frozenset[tuple[str, str]]
    closing: frozenset[str] = frozenset()
    folded: frozenset[str] = frozenset()
    in_place: bool = False
    chained: frozenset[str] = frozenset()


_CONVOLUTIONS = ("conv", "depthwise", "grouped")
_CLAMPS = ("relu", "relu6")
_ACTIVATIONS = (*_CLAMPS, "hard_swish", "hard_sigmoid", "sigmoid", "silu", "gelu", "tanh")

_FUSED = (*_CLAMPS, "hard_sigmoid", "sigmoid", "tanh")  # by ONNX Runtime


def _pairs(families: Sequence[str], ops: Sequence[str]) -> frozenset[tuple[str, str]]:
    return frozenset((family, op) for family in families for op in ops)


DEFAULT_RULES = KernelRules(
    _pairs((*_CONVOLUTIONS, "linear"), (*_ACTIVATIONS, "add", "batch_norm", "scale")) | _pairs(("add",), _CLAMPS)
)
"""What most runtimes do, for devices whose own graph nobody can read."""

RULES: Mapping[str, KernelRules] = {
    "onnxruntime": KernelRules(
        _pairs(_CONVOLUTIONS, ("batch_norm", "add"))
        | _pairs((*_CONVOLUTIONS, "batch_norm"), _FUSED)
        | _pairs(("conv", "depthwise"), ("hard_swish",)),
        closing=frozenset((*_FUSED, "hard_swish")),
        folded=frozenset({"batch_norm"}),
    ),
    "openvino": KernelRules(
        _pairs(_CONVOLUTIONS, (*_ACTIVATIONS, "add", "batch_norm", "scale")) - _pairs(_CONVOLUTIONS, ("hard_sigmoid",))
        | _pairs(("linear",), _ACTIVATIONS),
        in_place=True,
        chained=frozenset((*_ACTIVATIONS, "add", "multiply", "scale", "batch_norm")),
    ),
}
"""By runtime; tests hold them to the graphs that the runtimes say they run."""


def rules_of(runtime: str) -> KernelRules:
    """The rules of a runtime; the usual ones where its own graph cannot be read."""
    return RULES.get(runtime, DEFAULT_RULES)


def gather(graph: Graph, rules: KernelRules) -> list[Group]:
    """The ops of a graph without blocks as kernels, by the first op of each; sums are of two."""
    return _Gatherer(graph, rules).groups()


class _Gatherer:
    def __init__(self, graph: Graph, rules: KernelRules) -> None:
        self.graph, self.rules = graph, rules
        self.first = len(graph.inputs)
        self.readers: dict[int, list[int]] = {}  # value -> the values made from it; a result of the graph is read, too
        for value, item in enumerate(graph.items, start=self.first):
            for read in item.inputs:
                self.readers.setdefault(read, []).append(value)
        for value in graph.outputs:
            self.readers.setdefault(value, []).append(-1)
        self.needs = [0] * self.first  # of each value, those that it is made from, as bits
        self.kernel: dict[int, Group] = {}
        self.lonely: set[int] = set()

    def groups(self) -> list[Group]:
        for value, item in enumerate(self.graph.items, start=self.first):
            self.needs.append(0)
            for read in item.inputs:
                self.needs[value] |= self.needs[read] | 1 << read
            self._place(value, item)
        found = {id(group): group for group in self.kernel.values()}
        return list(found.values())

    def _place(self, value: int, item: Item) -> None:
        group = self._of_layer(value, item)
        if group is None:
            group = self._of_chain(value, item)
        group.append((value, item))
        self.kernel[value] = group

    def _of_layer(self, value: int, item: Item) -> Group | None:
        """The kernel whose result the op alone reads, and which it may join."""
        op, rules = str(item.op), self.rules
        for read in item.inputs:
            group = self.kernel.get(read)
            if group is None or group[-1][0] != read or len(self.readers[read]) > 1:
                continue
            inside = [str(each.op) for _, each in group]
            if (head_family(self.graph, group), op) not in rules.joins or not rules.closing.isdisjoint(inside):
                continue
            if (op == "add" and "add" in inside) or (op in rules.folded and len(group) > 1):
                continue
            if op == "add" and rules.in_place and not self._may_overwrite(value, item, read, group):
                self.lonely.add(value)
                continue
            return group
        return None

    def _may_overwrite(self, value: int, item: Item, read: int, group: Group) -> bool:
        """Whether all others that read what the other summand's kernel gives have done so, and the layer does not."""
        own = {v for _, each in group for v in each.inputs}
        ready = self.needs[value] | 1 << value
        for other in item.inputs:
            made = [v for v, _ in self.kernel.get(other, [])] or [other]
            readers = [r for v in made if other != read for r in self.readers[v] if r not in made]
            if (other != read and other in own) or not all(r >= 0 and ready >> r & 1 for r in readers):
                return False
        return True

    def _of_chain(self, value: int, item: Item) -> Group:
        """The kernels of elementwise ops that the op reads, as one; a new kernel where there are none."""
        if str(item.op) not in self.rules.chained or value in self.lonely:
            return []
        joined: list[Group] = []
        for read in item.inputs:
            group = self.kernel.get(read)
            if group is None or any(group is other for other in joined):
                continue
            if self._is_chain(group, read, item) and self._independent([*joined, group], item):
                joined.append(group)
        if not joined:
            return []
        whole = joined[0]
        for group in joined[1:]:
            whole.extend(group)
            self.kernel.update((v, whole) for v, _ in group)
        whole.sort(key=lambda each: each[0])
        return whole

    def _is_chain(self, group: Group, read: int, item: Item) -> bool:
        """Whether an elementwise op may join the kernel; one that might have joined a layer takes in little."""
        if not all(str(each.op) in self.rules.chained for _, each in group):
            return False
        plain = self.lonely.isdisjoint(v for v, _ in group)
        return plain or (len(item.inputs) == 1 and len(self.readers[read]) == 1)

    def _independent(self, groups: Sequence[Group], item: Item) -> bool:
        """Whether nothing that the groups and the op read from outside is made from what is inside."""
        inside = {v for group in groups for v, _ in group}
        bits = sum(1 << v for v in inside)
        reads = {v for group in groups for _, each in group for v in each.inputs} | {*item.inputs}
        return all(self.needs[v] & bits == 0 for v in reads - inside)


def head_family(graph: Graph, group: Group) -> str:
    """The family of a kernel's first op, which takes most of its time."""
    _, item = group[0]
    return op_family(str(item.op), item.attrs, graph.value_shapes[item.inputs[0]]) if item.inputs else str(item.op)


def op_family(op: str, attrs: Attrs, in_shape: Shape) -> str:
    """The kind of an op; convolutions are ``conv``, ``depthwise`` or ``grouped``."""
    if op != "conv" or attrs["groups"] == 1:
        return op
    return "depthwise" if attrs["groups"] == in_shape[0] else "grouped"
