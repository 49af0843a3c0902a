"""The cell space of NAS-Bench-201 (Dong and Yang 2020, arXiv:2001.00326)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture, Choice, Codes, Option, option_index, parse_option
from search_spaces.blocks.cell_ops import relu_conv_bn
from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.residual import reduction_residual
from search_spaces.builder import Builder, Memo, Signature, Value
from search_spaces.errors import InvalidArchitecture, nearest
from search_spaces.graph import Graph
from search_spaces.task import Task, classifier

OPERATIONS = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
"""The operations of an edge, in order of rising cost."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) of every edge, in the order of the published text form."""


class NasBench201:
    """Three stages of ``cells`` equal cells, with a residual reduction between the stages.

    A cell has four nodes and an operation on each of its six edges; a node is the sum of its edges.
    ``prune`` leaves out operations that no path joins to both the cell's input and its output, which
    published parameter counts include.
    """

    name = "nas_bench_201"
    description = "Cells of four nodes and six edges with five operations, 15,625 architectures."
    paper = "Dong and Yang 2020, arXiv:2001.00326"

    def __init__(self, channels: int = 16, cells: int = 5, prune: bool = True) -> None:
        self.channels = channels
        self.cells = cells
        self.prune = prune
        self.memo = Memo()
        self.choices = tuple(Choice(f"edge{i}{j}", OPERATIONS) for i, j in EDGES)
        self._layers = self._stack()

    @property
    def input_sizes(self) -> tuple[int, ...]:
        return ()

    @property
    def size(self) -> int:
        return int(len(OPERATIONS) ** len(EDGES))

    def sample(self, rng: np.random.Generator) -> Architecture:
        draws = rng.integers(len(OPERATIONS), size=len(EDGES)).tolist()
        return Architecture(self.name, tuple([OPERATIONS[i] for i in draws]))

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        values = list(arch.values)
        position = int(rng.integers(len(values)))
        others = [o for o in OPERATIONS if o != values[position]]
        values[position] = others[rng.integers(len(others))]
        return Architecture(self.name, tuple(values))

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        picks = rng.random(len(EDGES)).tolist()
        return Architecture(
            self.name, tuple([x if u < 0.5 else y for x, y, u in zip(a.values, b.values, picks, strict=True)])
        )

    def validate(self, arch: Architecture) -> None:
        if arch.space != self.name or len(arch.values) != len(EDGES):
            raise InvalidArchitecture(
                f"an architecture of {arch.space!r} with {len(arch.values)} values is not of {self.name!r}",
                hint="six operations",
            )
        for choice, value in zip(self.choices, arch.values, strict=True):
            option_index(choice, value)

    @property
    def ordered(self) -> bool:
        return True

    def encode(self, arch: Architecture) -> Codes:
        return np.array([1 + OPERATIONS.index(str(value)) for value in arch.values], dtype=np.int64)

    def decode(self, codes: Codes) -> Architecture:
        numbers = [int(code) for code in codes]
        if len(numbers) != len(EDGES) or not all(1 <= n <= len(OPERATIONS) for n in numbers):
            raise InvalidArchitecture(f"codes {numbers}", hint=f"six numbers from 1 to {len(OPERATIONS)}")
        return Architecture(self.name, tuple([OPERATIONS[n - 1] for n in numbers]))

    def graph(self, arch: Architecture, task: Task) -> Graph:
        b = Builder((task.input_shape,), self.memo)
        operations = (_pruned(arch.values) if self.prune else arch.values,)
        layers = [(name, block, operations if args is None else args) for name, block, args in self._layers]
        return b.build(task.head.attach(b, b.chain(b.inputs[0], layers), classifier))

    def _stack(self) -> list[tuple[str, Signature, tuple[int, ...] | None]]:
        """The layers of every network: name, block and arguments, which for a cell are the architecture."""
        layers: list[tuple[str, Signature, tuple[int, ...] | None]] = [("stem", (cell_stem, (int,)), (self.channels,))]
        for stage in (1, 2, 3):
            if stage > 1:
                reduced = (self.channels * 2 ** (stage - 1),)
                layers.append((f"reduction{stage - 1}", (reduction_residual, (int,)), reduced))
            layers += [(f"stage{stage}.cell{number}", (cell, (tuple,)), None) for number in range(1, self.cells + 1)]
        return [*layers, ("last", (norm_relu, ()), ())]

    def cover(self) -> list[Architecture]:
        n = len(OPERATIONS)
        return [
            Architecture(self.name, tuple(OPERATIONS[(k + i) % n] for i in range(len(EDGES)))) for k in range(n)
        ] + [Architecture(self.name, (operation,) * len(EDGES)) for operation in OPERATIONS]

    def smallest(self) -> Architecture:
        return Architecture(self.name, ("none",) * len(EDGES))

    def to_string(self, arch: Architecture) -> str:
        """The published form, ``|OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|``."""
        parts = [f"{value}~{i}" for value, (i, _) in zip(arch.values, EDGES, strict=True)]
        return "|{}|+|{}|{}|+|{}|{}|{}|".format(*parts)

    def from_string(self, text: str) -> Architecture:
        """Parses the published form. Raises: InvalidArchitecture."""
        match = re.fullmatch(r"\|([^|]*)\|\+\|([^|]*)\|([^|]*)\|\+\|([^|]*)\|([^|]*)\|([^|]*)\|", text.strip())
        if match is None:
            raise InvalidArchitecture(f"{text!r} is no cell", hint="write |OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|")
        values = []
        for choice, part, (source, _) in zip(self.choices, match.groups(), EDGES, strict=True):
            operation, _, node = part.partition("~")
            if node != str(source):
                raise InvalidArchitecture(f"{part!r} stands for {choice.name}", hint=f"write OP~{source} there")
            values.append(parse_option(choice, operation))
        return Architecture(self.name, tuple(values))

    def to_dict(self, arch: Architecture) -> dict[str, Option]:
        return {c.name: v for c, v in zip(self.choices, arch.values, strict=True) if v is not None}

    def from_dict(self, values: Mapping[str, Any]) -> Architecture:
        known = [c.name for c in self.choices]
        for name in values:
            if name not in known:
                raise InvalidArchitecture(f"{self.name} has no choice {name!r}", hint=nearest(name, known))
        for name in known:
            if name not in values:
                raise InvalidArchitecture(f"{name} is missing", hint="give all six edges", field=name)
        arch = Architecture(self.name, tuple(values[name] for name in known))
        self.validate(arch)
        return arch


def cell_stem(b: Builder, x: Value, channels: int) -> Value:
    return conv_bn(b, "stem", x, channels, 3)


def norm_relu(b: Builder, x: Value) -> Value:
    return b.op("relu", "relu", b.batch_norm("bn", x))


def cell(b: Builder, x: Value, operations: tuple[str | None, ...]) -> Value:
    """A cell; None stands for an edge that was pruned, "none" for one that gives zeros.

    Names carry the operation (``edge01.nor_conv_3x3``), for weights belong to an operation of an edge.
    """
    nodes: list[Value | None] = [x]
    for target, first in ((1, 0), (2, 1), (3, 3)):  # its edges are those from ``first`` on
        terms = []
        for source in range(target):
            operation = operations[first + source]
            term = _edge(b, f"edge{source}{target}.{operation}", operation, nodes[source])
            if term is not None:
                terms.append(term)
        if len(terms) > 1:
            nodes.append(b.op(f"node{target}.sum", "add", *terms))
        elif terms:
            nodes.append(terms[0])
        else:
            readers = [o for o, (source, _) in zip(operations, EDGES, strict=True) if source == target]
            read = target == 3 or any(o not in (None, "none") for o in readers)
            nodes.append(b.op(f"node{target}.zeros", "zeros", x, shape=x.shape) if read else None)
    result = nodes[3]
    return x if result is None else result


def _edge(b: Builder, name: str, operation: str | None, source: Value | None) -> Value | None:
    if source is None or operation in (None, "none"):
        return None
    if operation == "skip_connect":
        return source
    if operation == "avg_pool_3x3":
        return b.pool(name, "avg_pool", source, 3, 1, 1)
    value: Value = b.block(name, relu_conv_bn, source, source.shape[0], 1 if operation == "nor_conv_1x1" else 3, 1)
    return value


@lru_cache(maxsize=15_625)
def _pruned(operations: tuple[Option | None, ...]) -> tuple[Option | None, ...]:
    """The operations with None on every edge that lies on no path from the cell's input to its output."""
    live = [o != "none" for o in operations]
    reached = {0}
    for (source, target), on in zip(EDGES, live, strict=True):
        if on and source in reached:
            reached.add(target)
    wanted = {3}
    for (source, target), on in zip(reversed(EDGES), reversed(live), strict=True):
        if on and target in wanted:
            wanted.add(source)
    return tuple(
        [
            o if on and i in reached and j in wanted else None
            for o, on, (i, j) in zip(operations, live, EDGES, strict=True)
        ]
    )
