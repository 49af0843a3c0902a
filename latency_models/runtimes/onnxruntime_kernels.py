"""The kernels of a network in ONNX Runtime, from its optimised graph.

Tensors of the blocked layout lose their names there and fused nodes keep only one of theirs, so the nodes of a kernel
are found from the network: all between what the kernel reads and what it gives.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import onnx
from onnx import NodeProto

from latency_models.runtimes import RuntimeKernel
from latency_models.runtimes.fusion import join, owners

_ENDINGS = re.compile(r"(?:_token_\d+|_nchwc|_nhwc|_out\d+|_quant|_bn|/[^/]*)$")
_MOVES = ("ReorderInput", "ReorderOutput", "Transpose")
_ABSORBED = ("Relu", "Clip", "QuantizeLinear")


def attribute(model: onnx.ModelProto, optimised: onnx.ModelProto) -> tuple[RuntimeKernel, ...]:
    """The kernels of the optimised graph in order of execution, with the nodes of the network that run in each."""
    return join(_Reader(model, optimised).kernels(), owners(model))


class _Original(NamedTuple):
    """The graph as it was written."""

    nodes: dict[str, NodeProto]
    makers: dict[str, NodeProto]
    readers: dict[str, list[NodeProto]]
    twins: dict[str, str]


class _Reader:
    def __init__(self, model: onnx.ModelProto, optimised: onnx.ModelProto) -> None:
        self.original = _original(model)
        self.optimised = list(optimised.graph.node)
        self.ends = [self._end(node) for node in self.optimised]
        self.named = {end.name for end in self.ends if end is not None}
        self.same: dict[str, str] = {}  # tensor of the optimised graph -> of the original one
        self.taken: set[str] = set()

    def kernels(self) -> list[tuple[str, list[str]]]:
        found: list[tuple[str, list[str]]] = []
        waiting: dict[str, str] = {}  # result of a nameless part of an op -> what ran for it
        for node, end in zip(self.optimised, self.ends, strict=True):
            op = (
                f"{node.domain.removeprefix('com.microsoft.')}.{node.op_type}"
                if "nchwc" in node.domain
                else node.op_type
            )
            reads = [self.same.get(name, name) for name in node.input if name]
            before = [waiting.pop(name) for name in node.input if name in waiting]
            if end is None and node.op_type in _MOVES:
                self.same[node.output[0]] = reads[0]
                found.append((op, []))
            elif end is None:
                waiting[node.output[0]] = "+".join([*before, op])
            else:
                last = self._extended(node, end, reads)
                self.same[node.output[0]] = last.output[0]
                found.append(("+".join([*before, op]), self._between(last, {*reads}, end.name)))
        return found

    def _end(self, node: NodeProto) -> NodeProto | None:
        """The original node that a kernel is named after."""
        for name in (*node.output, node.name):
            while name:
                if name in self.original.makers:
                    return self.original.makers[name]
                if name in self.original.nodes:
                    return self.original.nodes[name]
                shorter = _ENDINGS.sub("", name)
                if shorter == name:
                    break
                name = shorter
        return None

    def _extended(self, node: NodeProto, end: NodeProto, reads: list[str]) -> NodeProto:
        """The last original node in a kernel whose result has lost its name."""
        if node.output[0] in self.original.makers:
            return end
        activation = next((a.s.decode() for a in node.attribute if a.name == "activation"), "")
        absorbed = _ABSORBED if node.op_type.startswith("Q") else (activation, "Add")
        while True:
            after = self.original.readers.get(end.output[0], [])
            if len(after) != 1 or after[0].op_type not in absorbed or after[0].name in self.named:
                return end
            others = [name for name in after[0].input if name in self.original.makers and name != end.output[0]]
            if any(name not in reads for name in others):
                return end
            end = after[0]

    def _between(self, last: NodeProto, reads: set[str], own: str) -> list[str]:
        """The original nodes from what a kernel reads to what it gives; other kernels are named after ``named``."""
        found: list[NodeProto] = []
        look = [last]
        while look:
            node = look.pop()
            elsewhere = node.name in self.named - {own} or self.original.twins[node.name] in self.taken
            if node.name in self.taken or (node is not last and elsewhere):
                continue
            self.taken.add(node.name)
            found.append(node)
            look += [self.original.makers[n] for n in node.input if n in self.original.makers and n not in reads]
        order = {name: i for i, name in enumerate(self.original.nodes)}
        return sorted((node.name for node in found), key=order.__getitem__)


def _original(model: onnx.ModelProto) -> _Original:
    nodes = {node.name: node for node in model.graph.node}
    makers = {output: node for node in nodes.values() for output in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in nodes.values():
        for name in node.input:
            readers.setdefault(name, []).append(node)
    uses = Counter(output.name for output in model.graph.output)
    for name in uses:  # an output is read, too
        readers.setdefault(name, []).append(NodeProto(op_type="Output"))
    twins: dict[str, str] = {}
    first: dict[bytes, str] = {}
    alike: dict[str, str] = {}
    for node in nodes.values():
        bare = NodeProto(op_type=node.op_type, input=[alike.get(n, n) for n in node.input], attribute=node.attribute)
        twins[node.name] = first.setdefault(bare.SerializeToString(deterministic=True), node.name)
        alike[node.output[0]] = nodes[twins[node.name]].output[0]
    return _Original(nodes, makers, readers, twins)
