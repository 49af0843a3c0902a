"""Stochastic depth in a staged space: the rate of every layer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import replace

from search_spaces.blocks import BLOCKS
from search_spaces.errors import InvalidSpec
from search_spaces.stage import Stage, listed


def with_drop_path(stages: Iterable[Stage], rate: float) -> tuple[Stage, ...]:
    """The stages with the argument ``drop_path`` of their blocks set by the place of the layer.

    It rises linearly from 0 at the first layer to ``rate`` at the last, counted with every stage at its largest
    depth, so that a layer has one rate in all architectures. Layers whose blocks have no such argument (stems and
    heads) do not count; a stage that sets the argument itself counts and keeps its own. Source: Huang et al. 2016,
    Deep Networks with Stochastic Depth, arXiv:1603.09382, section 3 (linear decay).
    Raises: InvalidSpec where the rate is not from 0 to below 1, or no block has the argument.
    """
    if not 0 <= rate < 1:
        raise InvalidSpec(f"drop_path {rate}", hint="a rate from 0 to below 1", field="drop_path")
    stages = tuple(stages)
    if rate == 0:
        return stages
    places = [max(stage.depth) if _takes(stage) else 0 for stage in stages]
    if not any(places):
        raise InvalidSpec("no block of the space has a drop_path", hint="leave drop_path out", field="drop_path")
    last = max(1, sum(places) - 1)
    made = []
    for number, (stage, depth) in enumerate(zip(stages, places, strict=True)):
        first = sum(places[:number])
        if depth and not _sets(stage):
            rule = listed(*(rate * (first + index) / last for index in range(depth)))
            stage = replace(stage, rules={**stage.rules, "drop_path": rule})
        made.append(stage)
    return tuple(made)


def _takes(stage: Stage) -> bool:
    """Whether a block of the stage has the argument; a block that does not exist is refused elsewhere."""
    functions = [BLOCKS[c.block].function for c in stage.candidates().values() if c.block in BLOCKS]
    return any("drop_path" in inspect.signature(function).parameters for function in functions)


def _sets(stage: Stage) -> bool:
    own = [candidate.options for candidate in stage.candidates().values()]
    return any("drop_path" in given for given in (stage.options, stage.rules, *own))
