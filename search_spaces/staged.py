"""MobileNet-style search spaces: a chain of stages with depth, width, resolution and layer choices."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from operator import itemgetter
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture, Choice, Codes, Option, option_index, parse_option
from search_spaces.blocks import BLOCKS
from search_spaces.builder import Builder, Memo, Value
from search_spaces.channels import make_divisible
from search_spaces.errors import InvalidArchitecture, InvalidGraph, InvalidSpec, nearest
from search_spaces.graph import Graph
from search_spaces.task import Task

Options = Mapping[str, tuple[Option, ...]]
"""The options of each argument of a block, by its name."""


@dataclass(frozen=True)
class Stage:
    """A run of layers of one block. The first layer has the stride, the others stride 1.

    ``out_channels`` is multiplied by the width choice and rounded to ``divisor``, and is at least
    ``min_channels``. ``depth`` lists the numbers of layers to choose from. ``options`` gives each other
    argument of the block its options; one option is no choice. ``single``: the stage is one layer and
    bears its name alone (stems and heads).
    """

    name: str
    block: str
    out_channels: int
    stride: int = 1
    depth: tuple[int, ...] = (1,)
    options: Options = field(default_factory=dict)
    min_channels: int = 0
    divisor: int = 8
    single: bool = False


_Call = tuple[str, Callable[..., Any], Callable[[tuple[Any, ...]], tuple[Any, ...]]]


def _pick(positions: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The function that takes these positions of a pool, as a tuple."""
    if len(positions) == 1:
        (only,) = positions
        return lambda pool: (pool[only],)
    return itemgetter(*positions)


class StagedSpace:
    """A chain of stages. Options of a choice stand in order of rising cost.

    Choices, in order: ``resolution``, ``width``, then for each stage ``STAGE.depth`` and for each of its
    layers ``STAGE.layerN.ARGUMENT``. A layer beyond the chosen depth is inactive.
    """

    def __init__(
        self,
        name: str,
        stages: Iterable[Stage],
        *,
        description: str = "",
        paper: str = "",
        width: tuple[float, ...] = (1.0,),
        resolution: tuple[int, ...] = (),
        memo_limit: int = 20_000,
    ) -> None:
        self.name = name
        self.description = description
        self.paper = paper
        self.stages = tuple(stages)
        self.memo = Memo(memo_limit)
        self._choices: list[Choice] = []
        self._width = self._add("width", width)
        self._resolution = self._add("resolution", resolution) if resolution else None
        self._constants: list[Any] = []
        # per stage: where its layers' choices end at each depth; per layer: name, function, argument getter
        self._depths: list[tuple[int, dict[Option, int], int]] = []
        self._layers: list[tuple[int, int, list[_Call]]] = []
        self._plan()
        self._channels = {
            w: tuple(max(s.min_channels, make_divisible(s.out_channels * w, s.divisor)) for s in self.stages)
            for w in width
        }
        self.choices = tuple(self._choices)
        self._index = {choice.name: i for i, choice in enumerate(self.choices)}

    def _add(self, name: str, options: tuple[Option, ...]) -> int:
        """Enters a choice and returns its position."""
        if not options:
            raise InvalidSpec(f"{name} has no options", hint="list at least one", field=name)
        if len({type(o) for o in options}) > 1 or len(set(options)) < len(options):
            raise InvalidSpec(f"{name}: {options} repeat or mix types", hint="distinct options of one type", field=name)
        if not isinstance(options[0], str) and any(a > b for a, b in pairwise(options)):  # type: ignore[operator]
            raise InvalidSpec(f"{name}: {options} do not rise", hint="list options by rising cost", field=name)
        self._choices.append(Choice(name, options))
        return len(self._choices) - 1

    def _plan(self) -> None:
        """Lays out the choices of the stages and how each layer picks its arguments from one flat pool.

        The pool of an architecture is: its values, the constants, and the channels of every stage.
        """
        slots: list[tuple[Stage, int, list[tuple[str, list[Any]]]]] = []
        for stage in self.stages:
            parameters = list(inspect.signature(BLOCKS[stage.block].function).parameters)[2:]
            missing = [p for p in parameters if p not in ("out_channels", "stride") and p not in stage.options]
            extra = [p for p in stage.options if p not in parameters]
            if missing or extra:
                raise InvalidSpec(
                    f"{stage.name}: block {stage.block} lacks {missing} and does not take {extra}",
                    hint=f"its arguments are {parameters}",
                    field=f"stages.{stage.name}",
                )
            depth = -1
            if len(stage.depth) > 1:
                depth = self._add(f"{stage.name}.depth", stage.depth)
            layers = []
            ends = {}
            for number in range(1, stage.depth[-1] + 1):
                name = stage.name if stage.single else f"{stage.name}.layer{number}"
                arguments: list[Any] = []
                for parameter in parameters:
                    options = stage.options.get(parameter, ())
                    if parameter == "out_channels":
                        arguments.append("channels")
                    elif parameter == "stride":
                        arguments.append((stage.stride if number == 1 else 1,))
                    elif len(options) == 1:
                        arguments.append(options)
                    else:
                        arguments.append(self._add(f"{name}.{parameter}", options))
                layers.append((name, arguments))
                ends[number] = len(self._choices)
            self._depths.append((depth, {d: ends[d] for d in stage.depth}, len(self._choices)))
            slots.append((stage, depth, layers))
        values = len(self._choices)
        self._constants = list(
            dict.fromkeys(
                (type(a[0]), a[0]) for _, _, ls in slots for _, args in ls for a in args if isinstance(a, tuple)
            )
        )
        channels = values + len(self._constants)
        for position, (stage, depth, layers) in enumerate(slots):
            function = BLOCKS[stage.block].function
            calls = []
            for name, arguments in layers:
                where = [
                    a
                    if isinstance(a, int)
                    else channels + position
                    if isinstance(a, str)
                    else values + self._constants.index((type(a[0]), a[0]))
                    for a in arguments
                ]
                calls.append((name, function, _pick(where)))
            self._layers.append((depth, stage.depth[0], calls))
        self._constants = [value for _, value in self._constants]

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """The resolutions to choose from; empty where the task's own size is used."""
        options = () if self._resolution is None else self.choices[self._resolution].options
        return tuple(int(option) for option in options)

    @property
    def size(self) -> int:
        total = prod(len(c.options) for c in self.choices if "." not in c.name)
        start = sum(1 for c in self.choices if "." not in c.name)
        for depth, ends, end in self._depths:
            first = start + (depth >= 0)
            total *= sum(prod(len(c.options) for c in self.choices[first:stop]) for stop in ends.values())
            start = end
        return total

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Every choice uniform and independent (so shallow networks are as likely as deep ones)."""
        draws = rng.random(len(self.choices)).tolist()
        return self._canonical([c.options[int(u * len(c.options))] for c, u in zip(self.choices, draws, strict=True)])

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
            if depth >= 0:
                stop = ends[values[depth]]  # type: ignore[index]
                if stop < end:
                    values[stop:end] = [None] * (end - stop)
        return Architecture(self.name, tuple(values))

    def _active(self, values: list[Option | None]) -> list[bool]:
        active = [True] * len(values)
        for depth, ends, end in self._depths:
            if depth >= 0:
                stop = ends[values[depth]]  # type: ignore[index]
                active[stop:end] = [False] * (end - stop)
        return active

    def validate(self, arch: Architecture) -> None:
        if arch.space != self.name or len(arch.values) != len(self.choices):
            raise InvalidArchitecture(
                f"an architecture of {arch.space!r} with {len(arch.values)} values is not of {self.name!r}",
                hint=f"{len(self.choices)} values in the order of the space's choices",
            )
        values = list(arch.values)
        for depth, _, _ in self._depths:
            if depth >= 0:
                option_index(self.choices[depth], values[depth])
        for choice, value, active in zip(self.choices, values, self._active(values), strict=True):
            if active:
                option_index(choice, value)
            elif value is not None:
                raise InvalidArchitecture(
                    f"{choice.name}={value!r} is inactive at the chosen depth", hint="leave it out", field=choice.name
                )

    def check_task(self, task: Task) -> None:
        try:
            self.graph(self.smallest(), task)
        except InvalidGraph as error:
            raise InvalidSpec(
                f"space {self.name} does not fit inputs of shape {task.input_shape}: {error.message}",
                hint="choose a space for this input size",
                field="space",
            ) from None

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
            if depth >= 0 and values[depth] is None:
                raise InvalidArchitecture(f"{self.choices[depth].name} has code {numbers[depth]}", hint="1 or more")
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
        pool = (*values, *self._constants, *self._channels[values[self._width]])  # type: ignore[index]
        b = Builder((input_shape,), self.memo)
        block = b.block
        x: Value = b.inputs[0]
        for depth, fixed, calls in self._layers:
            count: Any = values[depth] if depth >= 0 else fixed
            for name, function, arguments in calls[:count]:
                x = block(name, function, x, *arguments(pool))
        return b.build(head.attach(b, x))

    def cover(self) -> list[Architecture]:
        deepest = {depth for depth, _, _ in self._depths}
        rounds = max(len(c.options) for c in self.choices)
        covered = [
            [c.options[-1] if i in deepest else c.options[k % len(c.options)] for i, c in enumerate(self.choices)]
            for k in range(rounds)
        ] + [[c.options[k % len(c.options)] for c in self.choices] for k in range(rounds)]
        return list(dict.fromkeys(self._canonical(list(values)) for values in covered))

    def smallest(self) -> Architecture:
        return self._canonical([choice.options[0] for choice in self.choices])

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
        """From active choices by name; each of them must be given, and no inactive one."""
        listed: list[Option | None] = [None] * len(self.choices)
        for name, value in values.items():
            choice = self._choice(name)
            listed[self._index[name]] = choice.options[option_index(choice, value)]
        for depth, _, _ in self._depths:
            if depth >= 0 and listed[depth] is None:
                name = self.choices[depth].name
                raise InvalidArchitecture(f"{name} is missing", hint="give every active choice", field=name)
        for choice, value, active in zip(self.choices, listed, self._active(listed), strict=True):
            if active and value is None:
                raise InvalidArchitecture(
                    f"{choice.name} is missing", hint="give every active choice", field=choice.name
                )
        arch = Architecture(self.name, tuple(listed))
        self.validate(arch)
        return arch

    def _choice(self, name: str) -> Choice:
        if name not in self._index:
            raise InvalidArchitecture(f"{self.name} has no choice {name!r}", hint=nearest(name, list(self._index)))
        return self.choices[self._index[name]]
