"""NASNet-style search spaces: a normal and a reduction cell, stacked."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture, Choice, Codes, Option, option_index, parse_option
from search_spaces.blocks.cell_ops import CELL_OPERATIONS
from search_spaces.builder import Memo
from search_spaces.cell_stack import Nodes, Stacking
from search_spaces.errors import InvalidArchitecture, InvalidSpec, nearest
from search_spaces.graph import Graph
from search_spaces.task import Classification, Task

CELLS = ("normal", "reduction")
MOST_NODES = 12
STACK = ("repeats", "filters")
_SLOTS = ("input1", "op1", "input2", "op2")


class CellSpace:
    """Two cells of ``nodes`` nodes each, and how they are stacked.

    A node is the sum of two operations (of ``operations``, in order of rising cost), each on an earlier state of its
    cell: state 0 is the output of the last cell, 1 that of the cell before it, 2 and up are the nodes. Choices:
    ``CELL.nodeN.input1``, ``.op1``, ``.input2`` and ``.op2`` (the nodes are 2 and up), then ``repeats`` and
    ``filters`` where the stacking has several. The two (input, operation) pairs of a node have no order and are
    sorted, so that equal cells are equal architectures.

    An architecture's text, ``normal=OP~INPUT+OP~INPUT|...,reduction=...``, says nothing of the stacking: the text of
    cells found in a small network is valid in the space of any other stacking (see ``cells_text``).
    """

    def __init__(
        self,
        name: str,
        stacking: Stacking,
        *,
        nodes: int = 5,
        operations: tuple[str, ...] = tuple(CELL_OPERATIONS),
        description: str = "",
        paper: str = "",
        memo_limit: int = 20_000,
    ) -> None:
        unknown = [o for o in operations if o not in CELL_OPERATIONS]
        states = 2 + nodes
        if unknown or not operations or len(set(operations)) < len(operations) or not 1 <= nodes <= MOST_NODES:
            raise InvalidSpec(
                f"{nodes} nodes of operations {operations}",
                hint=f"1 to {MOST_NODES} nodes, distinct operations of {', '.join(CELL_OPERATIONS)}",
                field="operations",
            )
        if any(not 0 <= state < states for kept in stacking.kept for state in kept):
            raise InvalidSpec(f"kept states {stacking.kept}", hint=f"states are 0 to {states - 1}", field="kept")
        self.name = name
        self.stacking = stacking
        self.nodes = nodes
        self.operations = operations
        self.description = description
        self.paper = paper
        self.memo = Memo(memo_limit)
        self._stacks = tuple([Choice(n, o) for n in STACK if len(o := getattr(stacking, n)) > 1])
        self.choices = (
            *(
                Choice(f"{cell}.node{state}.{slot}", tuple(range(state)) if slot.startswith("input") else operations)
                for cell in CELLS
                for state in range(2, states)
                for slot in _SLOTS
            ),
            *self._stacks,
        )
        self._index = {choice.name: i for i, choice in enumerate(self.choices)}
        self._order = {operation: i for i, operation in enumerate(operations)}
        # what one half of a node may be, in the order in which the halves are sorted
        self._pairs = [[(i, o) for i in range(state) for o in operations] for _ in CELLS for state in range(2, states)]
        halves = [len(pairs) for pairs in self._pairs for _ in (1, 2)]
        self._counts = np.array([*halves, *(len(choice.options) for choice in self._stacks)])

    @property
    def input_sizes(self) -> tuple[int, ...]:
        return ()

    @property
    def size(self) -> int:
        cells = prod(len(pairs) * (len(pairs) + 1) // 2 for pairs in self._pairs)
        return int(cells * prod(len(choice.options) for choice in self._stacks))

    @property
    def ordered(self) -> bool:
        """An identity and a pool let the smallest cell do without weights of its own."""
        return "identity" in self.operations and any("pool" in operation for operation in self.operations)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Every half of every node uniform and independent."""
        picks = (rng.random(len(self._counts)) * self._counts).astype(np.int64).tolist()
        values: tuple[Option, ...] = ()
        place = 0
        for pairs in self._pairs:
            a, b = picks[place], picks[place + 1]
            values += pairs[a] + pairs[b] if a <= b else pairs[b] + pairs[a]
            place += 2
        for choice in self._stacks:
            values += (choice.options[picks[place]],)
            place += 1
        return Architecture(self.name, values)

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        several = [i for i, choice in enumerate(self.choices) if len(choice.options) > 1]
        position = several[rng.integers(len(several))]
        values = list(arch.values)
        others = [o for o in self.choices[position].options if o != values[position]]
        values[position] = others[rng.integers(len(others))]
        return self._canonical(values)

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Whole nodes of one parent or the other."""
        nodes = 4 * len(self._pairs)
        picks = (rng.random(len(self._pairs) + len(self._stacks)) < 0.5).tolist()
        sources = [picks[i // 4 if i < nodes else len(self._pairs) + i - nodes] for i in range(len(self.choices))]
        values = [x if first else y for x, y, first in zip(a.values, b.values, sources, strict=True)]
        return Architecture(self.name, tuple(values))

    def _canonical(self, values: list[Option | None]) -> Architecture:
        """The architecture of the values, all of them options, with the halves of each node in order."""
        for place in range(0, 4 * len(self._pairs), 4):
            i, one, j, other = values[place : place + 4]
            if (j, self._order[other]) < (i, self._order[one]):  # type: ignore[index]
                values[place : place + 4] = [j, other, i, one]
        return Architecture(self.name, tuple(values))

    def validate(self, arch: Architecture) -> None:
        if arch.space != self.name or len(arch.values) != len(self.choices):
            raise InvalidArchitecture(
                f"an architecture of {arch.space!r} with {len(arch.values)} values is not of {self.name!r}",
                hint=f"{len(self.choices)} values in the order of the space's choices",
            )
        for choice, value in zip(self.choices, arch.values, strict=True):
            option_index(choice, value)
        if arch != self._canonical(list(arch.values)):
            raise InvalidArchitecture("the halves of a node are not in order", hint="lower input, then operation first")

    def encode(self, arch: Architecture) -> Codes:
        values = zip(self.choices, arch.values, strict=True)
        return np.array([1 + option_index(choice, value) for choice, value in values], dtype=np.int64)

    def decode(self, codes: Codes) -> Architecture:
        numbers = [int(code) for code in codes]
        if len(numbers) != len(self.choices):
            raise InvalidArchitecture(f"{len(numbers)} codes", hint=f"{self.name} has {len(self.choices)} choices")
        for choice, number in zip(self.choices, numbers, strict=True):
            if not 1 <= number <= len(choice.options):
                raise InvalidArchitecture(f"code {number} of {choice.name}", hint=f"1 to {len(choice.options)}")
        return self._canonical([c.options[n - 1] for c, n in zip(self.choices, numbers, strict=True)])

    def graph(self, arch: Architecture, task: Task) -> Graph:
        return self.network(arch, task.input_shape, task.head)

    def network(self, arch: Architecture, input_shape: tuple[int, ...], head: Classification) -> Graph:
        """The training graph at a given input shape."""
        length = 4 * self.nodes
        cells = (arch.values[:length], arch.values[length : 2 * length])
        repeats, filters = self.stacking.repeats[0], self.stacking.filters[0]
        for choice, value in zip(self._stacks, arch.values[2 * length :], strict=True):
            if choice.name == "repeats":
                repeats = value  # type: ignore[assignment]
            else:
                filters = value  # type: ignore[assignment]
        return self.stacking.network(cells, repeats, filters, input_shape, head, self.memo)

    def cover(self) -> list[Architecture]:
        """Both halves of every node alike, so that each option comes up in as few architectures as it can."""
        rounds = max(len(choice.options) for choice in self.choices)
        return [
            Architecture(self.name, tuple([c.options[k % len(c.options)] for c in self.choices])) for k in range(rounds)
        ]

    def smallest(self) -> Architecture:
        """Every node reads the one before it, so that the cell's output is as narrow as one node."""
        least = "identity" if "identity" in self.operations else self.operations[0]
        pools = [operation for operation in self.operations if "pool" in operation]
        values: list[Option] = []
        for cell in CELLS:
            # the identity of another size has weights, a pool has none
            first = pools[0] if pools and cell == "reduction" else least
            values += [0, first, 1, first]
            for state in range(3, 2 + self.nodes):
                values += [state - 1, least] * 2
        return Architecture(self.name, (*values, *(choice.options[0] for choice in self._stacks)))

    def cells_text(self, arch: Architecture) -> str:
        """The two cells alone: the text of the same cells in a stacking without choices."""
        length = 4 * self.nodes
        normal, reduction = arch.values[:length], arch.values[length : 2 * length]
        return f"normal={_written(normal)},reduction={_written(reduction)}"

    def to_string(self, arch: Architecture) -> str:
        stack = arch.values[8 * self.nodes :]
        return self.cells_text(arch) + "".join(f",{c.name}={v}" for c, v in zip(self._stacks, stack, strict=True))

    def from_string(self, text: str) -> Architecture:
        """Parses the text; the halves of a node in any order. Raises: InvalidArchitecture naming the part at fault."""
        parts = dict(piece.strip().partition("=")[::2] for piece in text.split(","))
        known = [*CELLS, *(choice.name for choice in self._stacks)]
        for name in parts:
            if name not in known:
                raise InvalidArchitecture(f"{name!r} is no part of {self.name}", hint=nearest(name, known))
        for name in known:
            if name not in parts:
                raise InvalidArchitecture(f"{name} is missing", hint=f"write {','.join(f'{n}=...' for n in known)}")
        values: list[Option | None] = []
        for cell in CELLS:
            values += self._parsed(cell, parts[cell])
        values += [parse_option(choice, parts[choice.name]) for choice in self._stacks]
        return self._canonical(values)

    def _parsed(self, cell: str, text: str) -> list[Option | None]:
        nodes = [node.split("+") for node in text.split("|")]
        if len(nodes) != self.nodes or any(len(halves) != 2 for halves in nodes):
            raise InvalidArchitecture(
                f"{text!r} is no cell of {self.nodes} nodes", hint="write OP~INPUT+OP~INPUT|...", field=cell
            )
        values: list[Option | None] = []
        for state, halves in enumerate(nodes, 2):
            for half, number in zip(halves, (1, 2), strict=True):
                operation, _, state_read = half.partition("~")
                for slot, written in ((f"input{number}", state_read), (f"op{number}", operation)):
                    values.append(parse_option(self.choices[self._index[f"{cell}.node{state}.{slot}"]], written))
        return values

    def to_dict(self, arch: Architecture) -> dict[str, Option]:
        return {c.name: v for c, v in zip(self.choices, arch.values, strict=True) if v is not None}

    def from_dict(self, values: Mapping[str, Any]) -> Architecture:
        """From all choices by name; the halves of a node in any order."""
        for name in values:
            if name not in self._index:
                raise InvalidArchitecture(f"{self.name} has no choice {name!r}", hint=nearest(name, list(self._index)))
        given: list[Option | None] = []
        for choice in self.choices:
            if choice.name not in values:
                raise InvalidArchitecture(f"{choice.name} is missing", hint="give every choice", field=choice.name)
            given.append(choice.options[option_index(choice, values[choice.name])])
        return self._canonical(given)


def _written(nodes: Nodes) -> str:
    return "|".join(f"{b}~{a}+{d}~{c}" for a, b, c, d in zip(*[iter(nodes)] * 4, strict=True))
