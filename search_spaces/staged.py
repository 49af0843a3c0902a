"""MobileNet-style search spaces: a chain of stages with depth, width, resolution, block and layer choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from math import inf, prod
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture, Choice, Codes, Option, option_index, parse_option
from search_spaces.builder import Builder, Memo, Value
from search_spaces.drop_path import with_drop_path
from search_spaces.errors import InvalidArchitecture, InvalidGraph, nearest
from search_spaces.graph import Graph
from search_spaces.stage import Candidate, Layout, Options, Stage, lay_out, listed
from search_spaces.task import Classification, Classifier, Task, classifier

__all__ = ["Candidate", "Options", "Stage", "StagedSpace", "listed"]


class StagedSpace:
    """A chain of stages, and the block that ends it (``classifier``: pooling and the last linear layer).

    Options of a choice stand in order of rising cost (``ordered`` false: perhaps not), those of a block choice in
    any order.
    Choices, in order: ``width``, ``resolution``, then for each stage ``STAGE.out_channels``, ``STAGE.depth`` and
    for each of its layers ``STAGE.layerN.block`` and ``STAGE.layerN.ARGUMENT``, or
    ``STAGE.layerN.LABEL.ARGUMENT`` where there are several candidates. A choice of a layer beyond the chosen
    depth, or of a candidate that is not chosen, is inactive. ``drop_path`` is the rate of stochastic depth at the last
    layer (see ``with_drop_path``).
    """

    def __init__(
        self,
        name: str,
        stages: Iterable[Stage],
        *,
        width: tuple[float, ...] = (1.0,),
        resolution: tuple[int, ...] = (),
        classifier: Classifier = classifier,
        ordered: bool = True,
        drop_path: float = 0.0,
        memo_limit: int = 20_000,
    ) -> None:
        self.name = name
        self.stages = with_drop_path(stages, drop_path)
        self.memo = Memo(memo_limit)
        self._classifier = classifier
        self._ordered = ordered
        layout = Layout()
        self._width = layout.add("width", width)
        self._resolution = layout.add("resolution", resolution) if resolution else None
        plans = [lay_out(stage, position, layout) for position, stage in enumerate(self.stages)]
        self._constants = layout.constants
        self._plans = [plan(len(self._constants), len(self.stages)) for plan in plans]
        self.choices = tuple(layout.choices)
        self._options = [choice.options for choice in self.choices]
        self._counts = np.array([len(options) for options in self._options])
        self._index = {choice.name: i for i, choice in enumerate(self.choices)}
        self._layers = [
            (plan.depth, [] if plan.depth >= 0 else next(iter(plan.calls.values())), plan.calls) for plan in self._plans
        ]
        self._depths = [
            (plan.depth, plan.ends, plan.end)
            for plan in self._plans
            if plan.depth >= 0 and min(plan.ends.values()) < plan.end
        ]
        self._labels = [label for plan in self._plans for label in plan.labels]
        # the channels of every stage by width, and of the stages that choose theirs
        self._channels: dict[Any, tuple[int, ...]] = {
            w: tuple([s.channels(_first(s.out_channels), w) for s in self.stages]) for w in width
        }
        self._own_channels: list[tuple[int, int, dict[Any, int]]] = [
            (i, plan.channels, {(w, c): stage.channels(c, w) for w in width for c in _several(stage.out_channels)})
            for i, (plan, stage) in enumerate(zip(self._plans, self.stages, strict=True))
            if plan.channels >= 0
        ]

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """The resolutions to choose from; empty where the task's own size is used."""
        options = () if self._resolution is None else self.choices[self._resolution].options
        return tuple(int(option) for option in options)

    @property
    def size(self) -> int:
        whole = prod(len(choice.options) for choice in self.choices[: 1 + (self._resolution is not None)])
        return whole * prod(plan.size for plan in self._plans)

    @property
    def ordered(self) -> bool:
        return self._ordered and not any(name.endswith(".block") for name in self._index)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Every choice uniform and independent (so shallow networks are as likely as deep ones)."""
        picks = (rng.random(len(self.choices)) * self._counts).astype(np.int64).tolist()
        return self._canonical([options[i] for options, i in zip(self._options, picks, strict=True)])

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        active = [i for i, v in enumerate(arch.values) if v is not None and len(self.choices[i].options) > 1]
        if not active:
            return arch
        position = active[rng.integers(len(active))]
        fresh = self._fill(arch.values, rng)
        others = [o for o in self.choices[position].options if o != arch.values[position]]
        fresh[position] = others[rng.integers(len(others))]
        return self._canonical(fresh)

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        picks = rng.random(len(self.choices)).tolist()
        mixed: list[Option | None] = []
        for x, y, u in zip(a.values, b.values, picks, strict=True):
            first, second = (x, y) if u < 0.5 else (y, x)
            mixed.append(second if first is None else first)
        return self._canonical(self._fill(tuple(mixed), rng))

    def _fill(self, values: tuple[Option | None, ...], rng: np.random.Generator) -> list[Option | None]:
        draws = rng.random(len(values)).tolist()
        return [
            c.options[int(u * len(c.options))] if v is None else v
            for c, v, u in zip(self.choices, values, draws, strict=True)
        ]

    def _canonical(self, values: list[Option | None]) -> Architecture:
        for depth, ends, end in self._depths:
            stop = ends[values[depth]]
            if stop < end:
                values[stop:end] = [None] * (end - stop)
        for choice, ranges, low, high in self._labels:
            label = values[choice]
            if label is not None:
                start, stop = ranges[label]
                values[low:high] = [None] * (start - low) + values[start:stop] + [None] * (high - stop)
        return Architecture(self.name, tuple(values))

    def _active(self, values: list[Option | None]) -> list[bool]:
        """Which choices are active. Raises: InvalidArchitecture where one that decides on others is no option."""
        active = [True] * len(values)
        for depth, ends, end in self._depths:
            self._check(depth, values)
            stop = ends[values[depth]]
            active[stop:end] = [False] * (end - stop)
        for choice, ranges, low, high in self._labels:
            if active[choice]:
                self._check(choice, values)
                start, stop = ranges[values[choice]]
                active[low:start] = [False] * (start - low)
                active[stop:high] = [False] * (high - stop)
            else:
                active[low:high] = [False] * (high - low)
        return active

    def _check(self, position: int, values: list[Option | None]) -> None:
        """Raises InvalidArchitecture where a choice has no value, or one that is no option."""
        choice = self.choices[position]
        if values[position] is None:
            raise InvalidArchitecture(f"{choice.name} is missing", hint="give every active choice", field=choice.name)
        option_index(choice, values[position])

    def validate(self, arch: Architecture) -> None:
        if arch.space != self.name or len(arch.values) != len(self.choices):
            raise InvalidArchitecture(
                f"an architecture of {arch.space!r} with {len(arch.values)} values is not of {self.name!r}",
                hint=f"{len(self.choices)} values in the order of the space's choices",
            )
        values = list(arch.values)
        for position, active in enumerate(self._active(values)):
            name = self.choices[position].name
            if active:
                self._check(position, values)
            elif values[position] is not None:
                raise InvalidArchitecture(
                    f"{name}={values[position]!r} is inactive at the other choices", hint="leave it out", field=name
                )

    def encode(self, arch: Architecture) -> Codes:
        codes = [0 if v is None else 1 + c.options.index(v) for c, v in zip(self.choices, arch.values, strict=True)]
        return np.array(codes, dtype=np.int64)

    def decode(self, codes: Codes) -> Architecture:
        numbers = [int(code) for code in codes]
        if len(numbers) != len(self.choices):
            raise InvalidArchitecture(f"{len(numbers)} codes", hint=f"{self.name} has {len(self.choices)} choices")
        values: list[Option | None] = [
            c.options[n - 1] if 1 <= n <= len(c.options) else None for c, n in zip(self.choices, numbers, strict=True)
        ]
        for depth, _, _ in self._depths:
            self._check(depth, values)
        arch = self._canonical(values)
        self.validate(arch)
        return arch

    def graph(self, arch: Architecture, task: Task) -> Graph:
        """The training graph; a resolution choice replaces the task's height and width."""
        if self._resolution is not None:
            size = arch.values[self._resolution]
            return self.network(arch, (task.input_shape[0], size, size), task.head)  # type: ignore[arg-type]
        return self.network(arch, task.input_shape, task.head)

    def network(self, arch: Architecture, input_shape: tuple[int, ...], head: Any) -> Graph:
        """The training graph at a given input shape, whatever the resolution choice says."""
        values = arch.values
        width = values[self._width]
        channels = self._channels[width]
        if self._own_channels:
            chosen = list(channels)
            for stage, position, table in self._own_channels:
                chosen[stage] = table[width, values[position]]
            channels = tuple(chosen)
        pool = (*self._constants, *channels, *values)
        b = Builder((input_shape,), self.memo)
        calls = []
        for depth, fixed, by_depth in self._layers:
            for name, signature, arguments, choice, by_label in by_depth[values[depth]] if depth >= 0 else fixed:
                if choice >= 0:
                    name, signature, arguments = by_label[values[choice]]
                calls.append((name, signature, arguments(pool)))
        x: Value = b.chain(b.inputs[0], calls)
        return b.build(head.attach(b, x, self._classifier))

    def cover(self) -> list[Architecture]:
        deepest = {depth for depth, _, _ in self._depths}
        # the options of a candidate's arguments turn once in a round of the candidates
        slow = {
            position: len(self.choices[choice].options)
            for choice, _, low, high in self._labels
            for position in range(low, high)
        }
        rounds = max(len(c.options) * slow.get(i, 1) for i, c in enumerate(self.choices))

        def turned(i: int, k: int) -> Option:
            options = self.choices[i].options
            return options[k // slow.get(i, 1) % len(options)]

        count = len(self.choices)
        covered = [
            [self.choices[i].options[-1] if i in deepest else turned(i, k) for i in range(count)] for k in range(rounds)
        ] + [[turned(i, k) for i in range(count)] for k in range(rounds)]
        return list(dict.fromkeys(self._canonical(list(values)) for values in covered))

    def smallest(self) -> Architecture:
        return self._smallest

    @cached_property
    def _smallest(self) -> Architecture:
        """The first option of every choice; of a block choice the one with the fewest MACs, stage by stage."""
        values: list[Option | None] = [choice.options[0] for choice in self.choices]
        size = self.input_sizes[0] if self.input_sizes else 224
        task = Task((3, size, size), Classification(10))

        def cost(arch: Architecture) -> tuple[float, float]:
            try:
                graph = self.network(arch, task.input_shape, task.head)
            except InvalidGraph:
                return (inf, inf)
            return (graph.macs + graph.matmul_macs, graph.params)

        for position, choice in enumerate(self.choices):
            if choice.name.endswith(".block"):
                tried = [self._canonical([*values[:position], o, *values[position + 1 :]]) for o in choice.options]
                values[position] = choice.options[min(range(len(tried)), key=lambda k: cost(tried[k]))]
        return self._canonical(values)

    def to_string(self, arch: Architecture) -> str:
        return ",".join(f"{name}={value}" for name, value in self.to_dict(arch).items())

    def from_string(self, text: str) -> Architecture:
        """Parses ``choice=option,...``. Raises: InvalidArchitecture naming the choice at fault."""
        values: dict[str, Option] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, _, option = part.partition("=")
            values[name] = parse_option(self._choice(name), option)
        return self.from_dict(values)

    def to_dict(self, arch: Architecture) -> dict[str, Option]:
        return {c.name: v for c, v in zip(self.choices, arch.values, strict=True) if v is not None}

    def from_dict(self, values: Mapping[str, Any]) -> Architecture:
        """From active choices by name; each of them must be given (if it has two options), and no inactive one."""
        listed: list[Option | None] = [c.options[0] if len(c.options) == 1 else None for c in self.choices]
        for name, value in values.items():
            choice = self._choice(name)
            listed[self._index[name]] = choice.options[option_index(choice, value)]
        for position, active in enumerate(self._active(listed)):
            if active:
                self._check(position, listed)
        arch = Architecture(self.name, tuple(listed))
        self.validate(arch)
        return arch

    def _choice(self, name: str) -> Choice:
        if name not in self._index:
            raise InvalidArchitecture(f"{self.name} has no choice {name!r}", hint=nearest(name, list(self._index)))
        return self.choices[self._index[name]]


def _several(out_channels: int | tuple[int, ...]) -> tuple[int, ...]:
    return out_channels if isinstance(out_channels, tuple) else (out_channels,)


def _first(out_channels: int | tuple[int, ...]) -> int:
    return _several(out_channels)[0]
