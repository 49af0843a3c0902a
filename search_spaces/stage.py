"""A stage of a staged space, and how its layers pick their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple

from search_spaces.architecture import Choice, Option
from search_spaces.blocks import BLOCKS
from search_spaces.builder import Signature
from search_spaces.channels import make_divisible
from search_spaces.errors import InvalidSpec

Options = Mapping[str, tuple[Option, ...]]
"""The options of each argument of a block, by its name."""
Rule = Callable[[int, int], Option]
"""What an argument is at layer ``index`` (from 0) of a stage of ``depth`` layers."""


@dataclass(frozen=True)
class Candidate:
    """A block that a layer may be, with the options of its arguments."""

    block: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A run of layers. The first layer has the stride, the others stride 1.

    ``block`` names the block of every layer, or gives each layer the choice among candidates by label.
    ``out_channels`` (several: a choice) is multiplied by the width choice unless ``scaled`` is false, rounded
    to ``divisor``, and is at least ``min_channels``. ``depth`` lists the numbers of layers to choose from.
    ``options`` gives the other arguments of the block their options; one option is no choice, and an argument
    with a default may be left out. ``rules`` sets arguments by the place of the layer. ``tied``: the layers
    share one set of choices. ``single``: the stage is one layer and bears its name alone (stems and heads).
    """

    name: str
    block: str | Mapping[str, Candidate]
    out_channels: int | tuple[int, ...]
    stride: int = 1
    depth: tuple[int, ...] = (1,)
    options: Options = field(default_factory=dict)
    min_channels: int = 0
    divisor: int = 8
    single: bool = False
    tied: bool = False
    scaled: bool = True
    rules: Mapping[str, Rule] = field(default_factory=dict)

    def channels(self, out_channels: int, width: float) -> int:
        """The output channels at a width multiplier."""
        if not self.scaled:
            return max(self.min_channels, out_channels)
        return max(self.min_channels, make_divisible(out_channels * width, self.divisor))

    def candidates(self) -> Mapping[str, Candidate]:
        """The blocks of a layer by label; one under "" where there is no choice."""
        return {"": Candidate(self.block)} if isinstance(self.block, str) else self.block


def listed(*values: Option) -> Rule:
    """The rule that gives the layers of a stage these values, one each."""
    return lambda index, depth: values[index]


Arguments = Callable[[tuple[Any, ...]], tuple[Any, ...]]
"""Picks a block's arguments from the flat pool of an architecture."""


class Call(NamedTuple):
    """A layer: its item name, the block and its arguments; ``choice`` is -1, or the position of the block
    choice, whose value is then the key into ``by_label``."""

    name: str
    signature: Signature
    arguments: Arguments
    choice: int = -1
    by_label: Mapping[Any, tuple[str, Signature, Arguments]] = {}


class Plan(NamedTuple):
    """The layout of a stage among the choices of its space.

    ``depth`` and ``channels`` are the positions of these choices or -1; ``calls`` the layers by depth; ``ends``
    where the choices of the layers end by depth, ``end`` at most; ``labels`` for each block choice with arguments
    of its own its position and the range of choices of each label; ``size`` the number of ways to fill the stage.
    """

    depth: int
    channels: int
    calls: Mapping[Any, list[Call]]
    ends: Mapping[Any, int]
    end: int
    labels: list[tuple[int, Mapping[Any, tuple[int, int]], int, int]]
    size: int


class Layout:
    """Collects the choices of a space and the constants of its pool.

    The pool of an architecture is: the constants, the channels of every stage, its values.
    """

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self._constants: dict[tuple[type, Any], int] = {}

    def add(self, name: str, options: tuple[Option, ...], *, rising: bool = True) -> int:
        """Enters a choice and returns its position."""
        if not options:
            raise InvalidSpec(f"{name} has no options", hint="list at least one", field=name)
        if len({type(o) for o in options}) > 1 or len(set(options)) < len(options):
            raise InvalidSpec(f"{name}: {options} repeat or mix types", hint="distinct options of one type", field=name)
        if rising and not isinstance(options[0], str) and any(a > b for a, b in pairwise(options)):  # type: ignore[operator]
            raise InvalidSpec(f"{name}: {options} do not rise", hint="list options by rising cost", field=name)
        self.choices.append(Choice(name, options))
        return len(self.choices) - 1

    def constant(self, value: Any) -> int:
        """The number of a constant, entered once a value and type."""
        return self._constants.setdefault((type(value), value), len(self._constants))

    @property
    def constants(self) -> tuple[Any, ...]:
        return tuple([value for _, value in self._constants])


# an argument in the making: a constant by its number, the channels of the stage, or a choice by its position
_Slot = tuple[str, int]


class _Layer(NamedTuple):
    name: str
    choice: int
    by_label: Mapping[str, tuple[str, str, list[_Slot | Rule]]]


def lay_out(stage: Stage, position: int, layout: Layout) -> Callable[[int, int], Plan]:
    """Enters the choices of a stage; the plan is made once all constants and stages are known.

    The function returned takes the numbers of constants and of stages in the pool.
    """
    wide = isinstance(stage.out_channels, tuple)
    out_channels = layout.add(f"{stage.name}.out_channels", stage.out_channels) if wide else -1  # type: ignore[arg-type]
    depth = layout.add(f"{stage.name}.depth", stage.depth) if len(stage.depth) > 1 else -1
    channels: _Slot = ("channels", position)
    labels: list[tuple[int, Mapping[Any, tuple[int, int]], int, int]] = []
    layers: list[_Layer] = []
    ends: dict[int, int] = {}
    sizes: list[int] = []

    def arguments(prefix: str, candidate: Candidate, first: bool) -> list[_Slot | Rule]:
        slots: list[_Slot | Rule] = []
        for parameter, default in _parameters(stage, candidate).items():
            given = candidate.options.get(parameter) or stage.options.get(parameter) or (default,)
            if parameter in stage.rules:
                slots.append(stage.rules[parameter])
            elif parameter == "out_channels":
                slots.append(channels)
            elif parameter == "stride":
                slots.append(("constant", layout.constant(stage.stride if first else 1)))
            elif len(given) == 1 or (parameter == "downsample" and (stage.stride == 1 or not first)):
                # without a stride no way to take one makes a difference
                slots.append(("constant", layout.constant(given[0])))
            else:
                slots.append(("value", layout.add(f"{prefix}.{parameter}", given)))
        return slots

    def layer(prefix: str, name: str, first: bool) -> _Layer:
        candidates = stage.candidates()
        if len(candidates) == 1:
            ((label, only),) = candidates.items()
            before = len(layout.choices)
            made = {"": (name, only.block, arguments(prefix, only, first))}
            sizes.append(prod(len(c.options) for c in layout.choices[before:]))
            return _Layer(name, -1, made)
        choice = layout.add(f"{prefix}.block", tuple(candidates))
        lowest = len(layout.choices)
        ranges = {}
        made = {}
        size = 0
        for label, candidate in candidates.items():
            before = len(layout.choices)
            made[label] = (f"{name}.{label}", candidate.block, arguments(f"{prefix}.{label}", candidate, first))
            ranges[label] = (before, len(layout.choices))
            size += prod(len(c.options) for c in layout.choices[before:])
        sizes.append(size)
        if len(layout.choices) > lowest:
            labels.append((choice, ranges, lowest, len(layout.choices)))
        return _Layer(name, choice, made)

    if stage.tied:
        # the choices are entered once; only the stride differs between the first layer and the others
        shared = layer(stage.name, stage.name, True)
        for number in range(1, stage.depth[-1] + 1):
            name = f"{stage.name}.layer{number}"
            made = {
                label: (
                    name if not label else f"{name}.{label}",
                    block,
                    _at_stride(stage, block, slots, number, layout),
                )
                for label, (_, block, slots) in shared.by_label.items()
            }
            layers.append(_Layer(name, shared.choice, made))
            ends[number] = len(layout.choices)
    else:
        for number in range(1, stage.depth[-1] + 1):
            name = stage.name if stage.single else f"{stage.name}.layer{number}"
            layers.append(layer(name, name, number == 1))
            ends[number] = len(layout.choices)
    size = len(stage.depth) * sizes[0] if stage.tied else sum(prod(sizes[:d]) for d in stage.depth)
    size *= len(layout.choices[out_channels].options) if wide else 1
    end = len(layout.choices)
    for d in stage.depth:
        for index in range(d):
            for rule in stage.rules.values():
                layout.constant(rule(index, d))

    def plan(constants: int, stages: int) -> Plan:
        offsets = {"constant": 0, "channels": constants, "value": constants + stages}

        def types(slots: list[_Slot | Rule], index: int, layers_in_all: int) -> tuple[type, ...]:
            kinds = []
            for slot in slots:
                if not isinstance(slot, tuple):
                    kinds.append(type(slot(index, layers_in_all)))
                elif slot[0] == "constant":
                    kinds.append(type(layout.constants[slot[1]]))
                else:
                    kinds.append(int if slot[0] == "channels" else type(layout.choices[slot[1]].options[0]))
            return tuple(kinds)

        def getter(slots: list[_Slot | Rule], index: int, layers_in_all: int) -> Arguments:
            where = [
                offsets[slot[0]] + slot[1] if isinstance(slot, tuple) else layout.constant(slot(index, layers_in_all))
                for slot in slots
            ]
            if len(where) == 1:
                (only,) = where
                return lambda pool: (pool[only],)
            return itemgetter(*where) if where else lambda pool: ()

        calls: dict[Any, list[Call]] = {}
        for d in stage.depth:
            calls[d] = []
            for index, (_, choice, by_label) in enumerate(layers[:d]):
                ready = {
                    label: (full, (BLOCKS[block].function, types(slots, index, d)), getter(slots, index, d))
                    for label, (full, block, slots) in by_label.items()
                }
                first_name, signature, picked = next(iter(ready.values()))
                calls[d].append(Call(first_name, signature, picked, choice, ready if choice >= 0 else {}))
        return Plan(depth, out_channels, calls, {d: ends[d] for d in stage.depth}, end, labels, size)

    return plan


def _at_stride(stage: Stage, block: str, slots: list[_Slot | Rule], number: int, layout: Layout) -> list[_Slot | Rule]:
    parameters = list(inspect.signature(BLOCKS[block].function).parameters)[2:]
    if "stride" not in parameters or number == 1:
        return slots
    changed = list(slots)
    changed[parameters.index("stride")] = ("constant", layout.constant(1))
    return changed


def _parameters(stage: Stage, candidate: Candidate) -> dict[str, Any]:
    """The parameters of a candidate's block after the input, with their defaults. Raises: InvalidSpec."""
    if candidate.block not in BLOCKS:
        raise InvalidSpec(f"{stage.name}: there is no block {candidate.block!r}", hint="see BLOCKS", field=stage.name)
    signature = inspect.signature(BLOCKS[candidate.block].function).parameters
    parameters = {name: p.default for name, p in list(signature.items())[2:]}
    given = {"out_channels", "stride", *stage.options, *stage.rules, *candidate.options}
    missing = [name for name, default in parameters.items() if default is inspect.Parameter.empty and name not in given]
    several = len(stage.candidates()) > 1
    extra = [name for name in candidate.options if name not in parameters]
    extra += [] if several else [name for name in (*stage.options, *stage.rules) if name not in parameters]
    if missing or extra:
        raise InvalidSpec(
            f"{stage.name}: block {candidate.block} lacks {missing} and does not take {extra}",
            hint=f"its arguments are {list(parameters)}",
            field=f"stages.{stage.name}",
        )
    return parameters
