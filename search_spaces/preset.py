"""A known network as a point of a space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from search_spaces.architecture import Architecture, Option, SearchSpace
from search_spaces.graph import Graph, Shape
from search_spaces.task import Classification, Task


class NetworkSpace(SearchSpace, Protocol):
    """A space whose networks can be built at any input shape, whatever a resolution choice says."""

    def network(self, arch: Architecture, input_shape: Shape, head: Classification) -> Graph: ...


@dataclass(frozen=True)
class Preset:
    """A published network: the space that it lies in, its active choices, the paper, and its input size
    (height and width where these differ).

    Two presets with the same ``space`` function are points
    of the same space; a variant that no choice describes is a space of its own with one architecture.
    """

    space: Callable[[], NetworkSpace]
    paper: str
    choices: Mapping[str, Option] = field(default_factory=dict)
    input_size: int | tuple[int, int] = 224

    def architecture(self) -> Architecture:
        """The network as a point of its space."""
        return self.space().from_dict(self.choices)

    def graph(self, input_shape: Shape | None = None, classes: int = 1000) -> Graph:
        """The training graph as published, at any input shape (channels, height, width; default: the published)."""
        size = self.input_size if isinstance(self.input_size, tuple) else (self.input_size, self.input_size)
        task = Task(tuple(input_shape or (3, *size)), Classification(classes))
        space = self.space()
        return space.network(space.from_dict(self.choices), task.input_shape, task.head)
