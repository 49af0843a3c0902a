"""What goes into a strategy and what comes out: scored trials, their history, proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.looks import Look
from nas.objectives import Goal
from nas.pareto import Points
from nas.scores import score_values
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.task import Task


@dataclass(frozen=True, slots=True)
class Proposal:
    """An architecture to score. ``notes`` is JSON that the strategy wants back with the scored trial."""

    architecture: Architecture
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoredTrial:
    """A trial as a strategy sees it.

    ``values`` are the objectives in order, every one minimised; None where only training shows the
    value and the zero-shot score stands in. ``proxies`` are raw; ``notes`` are those of the proposal. ``accuracies``
    after each rung completed, none while it has not been trained.
    """

    number: int
    architecture: Architecture
    proxies: Mapping[str, float | None]
    values: tuple[float | None, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    accuracies: tuple[float, ...] = ()


def genes_of(trial: ScoredTrial, space: SearchSpace) -> NDArray[np.int64]:
    """(choices,) the codes of its active choices, and where it has none its notes' ``genes``, which it inherited."""
    codes = space.encode(trial.architecture)
    noted = np.array(trial.notes.get("genes", ()), dtype=np.int64)
    return np.where(codes > 0, codes, noted if noted.shape == codes.shape else 1)


@dataclass(frozen=True)
class History:
    """The trials of a search so far, in order of number.

    ``look`` tells what of any architecture is known at once, ``feasible`` the bound that rejects it, if any does, and
    ``task`` what its networks are for; each of the three may be unknown.
    """

    space: SearchSpace
    trials: tuple[ScoredTrial, ...]
    goals: tuple[Goal, ...]
    score: str
    look: Callable[[Architecture], Look] | None = None
    feasible: Callable[[Architecture], str | None] | None = None
    task: Task | None = None

    @cached_property
    def points(self) -> Points:
        """(trials, objectives), minimised. The score is ranked over all trials, so it moves as they come."""
        points = np.array(
            [[np.nan if value is None else value for value in trial.values] for trial in self.trials],
            dtype=np.float64,
        ).reshape(len(self.trials), len(self.goals))
        missing = np.isnan(points)
        if missing.any():
            scores = score_values(self.score, [trial.proxies for trial in self.trials])
            signs = [-1.0 if goal == "maximize" else 1.0 for goal in self.goals]
            points = np.where(missing, np.outer(scores, signs), points)
        return points


class Proposer(Protocol):
    """How a strategy proposes: endlessly, from the history and a generator made for this one ask.

    What it yields need be neither feasible nor new; the caller sees to that.
    """

    def __call__(self, history: History, rng: np.random.Generator) -> Iterator[Proposal]: ...


class Strategy(Protocol):
    """Proposes architectures. Pure given the history: the trials told so far, and nothing else, decide.

    Telling stored trials to a new strategy of the same seed therefore gives the proposals that the
    first one gave.
    """

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many draws each reason has rejected since the strategy was made."""

    def ask(self, n: int) -> list[Proposal]:
        """At most ``n`` feasible architectures that no told trial has; fewer when no more were found.

        Raises: SpaceExhausted when all that the bounds allow has been proposed; Infeasible, naming the
        bound that rejected most, when the bounds allow nothing that could be found.
        """

    def tell(self, trials: Sequence[ScoredTrial]) -> None:
        """Adds trials; one of a number already told replaces it."""
