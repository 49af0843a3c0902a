"""Choices, architectures, and what every search space can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import InvalidArchitecture, InvalidGraph, InvalidSpec, nearest
from search_spaces.graph import Graph
from search_spaces.task import Task

Option = int | float | str | bool
Codes = NDArray[np.int64]


class Choice(NamedTuple):
    """A decision with its options. All options of a choice have one type, so ``True`` never stands for ``1``."""

    name: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Architecture:
    """Values in the order of the space's choices.

    Canonical: a choice that is inactive (a layer beyond the chosen depth) has the value None, so two
    architectures are equal exactly when their active choices are. Made by the space, never by hand.
    """

    space: str
    values: tuple[Option | None, ...]

    @cached_property
    def id(self) -> str:
        """Hash of the space and the active choices: what was asked for, not what network came of it."""
        return blake2b(f"{self.space}{self.values!r}".encode(), digest_size=8).hexdigest()


class SearchSpace(Protocol):
    """A set of architectures and the network of each.

    Every architecture returned is canonical and valid. Random numbers come from the generator passed in.
    """

    name: str

    @property
    def choices(self) -> tuple[Choice, ...]: ...
    @property
    def size(self) -> int:
        """The exact number of distinct architectures."""

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """The resolutions to choose from; empty where networks take the task's own size."""

    @property
    def ordered(self) -> bool:
        """Whether no architecture costs less than ``smallest()``, by any count."""

    def sample(self, rng: np.random.Generator) -> Architecture: ...
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A neighbour: one active choice changed (choices that become active are drawn)."""

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture: ...
    def validate(self, arch: Architecture) -> None:
        """Raises InvalidArchitecture where ``arch`` is not a canonical member."""

    def encode(self, arch: Architecture) -> Codes:
        """(choices,) whole numbers: 0 where inactive, else 1 + the option's index. Injective."""

    def decode(self, codes: Codes) -> Architecture:
        """The architecture of the codes; what is inactive is ignored. Raises InvalidArchitecture."""

    def graph(self, arch: Architecture, task: Task) -> Graph: ...
    def cover(self) -> list[Architecture]:
        """A few architectures in which every option of every choice occurs."""

    def smallest(self) -> Architecture:
        """A very small architecture; of an ordered space the one with the least parameters, MACs and peak memory."""

    def to_string(self, arch: Architecture) -> str: ...
    def from_string(self, text: str) -> Architecture: ...
    def to_dict(self, arch: Architecture) -> dict[str, Option]:
        """The active choices."""

    def from_dict(self, values: Mapping[str, Any]) -> Architecture: ...


def check_task(space: SearchSpace, task: Task) -> None:
    """Raises InvalidSpec where the networks of the space do not fit the task."""
    try:
        space.graph(space.smallest(), task)
    except InvalidGraph as error:
        raise InvalidSpec(
            f"space {space.name} does not fit inputs of shape {task.input_shape}: {error.message}",
            hint="choose a space for this input size, or its variant for small images (early_strides=false)",
            field="space",
        ) from None


def option_index(choice: Choice, value: Any) -> int:
    """The index of an option, by value and type. Raises InvalidArchitecture naming the choice."""
    for index, option in enumerate(choice.options):
        if option == value and type(option) is type(value):
            return index
    known = [str(option) for option in choice.options]
    raise InvalidArchitecture(
        f"{choice.name}={value!r} is no option", hint=nearest(str(value), known), field=choice.name
    )


def parse_option(choice: Choice, text: str) -> Option:
    """The option written as ``text``."""
    for option in choice.options:
        if str(option) == text:
            return option
    raise InvalidArchitecture(
        f"{choice.name}={text} is no option", hint=nearest(text, [str(o) for o in choice.options]), field=choice.name
    )
