"""What is known of an architecture before anything of it runs: its options, its form, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.feasibility import ARITHMETIC
from nas.graph_features import graph_features
from nas.on_device import Predictor, figure
from nas.spec import Objective
from search_spaces import Architecture, SearchSpace, Task
from search_spaces.graph import Graph

REMEMBERED = 50_000
"""Architectures whose look is kept."""


class Look(NamedTuple):
    """``codes`` (choices,) of ``SearchSpace.encode``, ``form`` of ``graph_features``, ``costs`` one for each objective.

    Costs are minimised; None where only training shows the objective.
    """

    codes: NDArray[np.int64]
    form: NDArray[np.float64]
    costs: tuple[float | None, ...]


class Looks:
    """The look of every architecture of a search, each worked out once."""

    def __init__(
        self, space: SearchSpace, task: Task, objectives: Sequence[Objective], predictors: Mapping[str, Predictor]
    ) -> None:
        """``predictors`` of every device that an objective names."""
        self._space = space
        self._task = task
        self._costs = [_cost(objective, predictors) for objective in objectives]
        self._seen: dict[str, Look] = {}

    def __call__(self, arch: Architecture) -> Look:
        """Raises: what the space raises for an architecture that is none of its own."""
        found = self._seen.get(arch.id)
        if found is None:
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            graph = self._space.graph(arch, self._task)
            costs = tuple(None if cost is None else cost(graph) for cost in self._costs)
            found = self._seen[arch.id] = Look(self._space.encode(arch), graph_features(graph), costs)
        return found


def _cost(objective: Objective, predictors: Mapping[str, Predictor]) -> Callable[[Graph], float] | None:
    sign = -1.0 if objective.goal == "maximize" else 1.0
    metric, device = objective.metric, objective.device
    if device is not None:
        return lambda graph: sign * figure(predictors[device], metric, graph).value
    if metric in ARITHMETIC:
        return lambda graph: sign * float(ARITHMETIC[metric](graph))
    return None
