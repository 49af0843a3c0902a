"""Hard constraints: what an architecture costs by arithmetic and prediction, and which bound rejects it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from nas.objectives import METRICS
from nas.on_device import Predictor, figure
from nas.spec import Constraint
from search_spaces import Architecture, SearchSpace, Task
from search_spaces.cost import peak_memory_bytes, weight_bytes
from search_spaces.deploy import deploy
from search_spaces.errors import Infeasible, InvalidSpec
from search_spaces.graph import Graph

DRAWS = 2_000
"""Random architectures tried before bounds are said to leave nothing."""
WALK = 8
"""Mutations, at most, between the smallest architecture and its neighbours that are tried as well."""

ARITHMETIC: Mapping[str, Callable[[Graph], int]] = {
    "params": lambda graph: graph.params,
    "macs": lambda graph: graph.macs,
    "peak_memory_bytes": lambda graph: peak_memory_bytes(deploy(graph)[0]),
    "weight_bytes": lambda graph: weight_bytes(deploy(graph)[0]),
}
"""The metrics that are exact from a training graph; memory is that of the network that runs."""


class _Check(NamedTuple):
    """A bound, its position in the specification (None: a limit of a device), and how its metric is computed."""

    position: int | None
    constraint: Constraint
    value: Callable[[Graph], float]


class Feasibility:
    """Calls as ``feasible(arch)``: None, or the text of the first bound that rejects it.

    Bounds on what only training shows (accuracy) are left to the end of the ladder, and so are bounds on
    a device without a predictor. ``limits`` are bounds that the devices set, not the specification.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        constraints: Sequence[Constraint],
        predictors: Mapping[str, Predictor],
        limits: Sequence[Constraint] = (),
    ) -> None:
        self.space = space
        self.task = task
        self._checks: list[_Check] = []
        bounds: list[tuple[int | None, Constraint]] = [*enumerate(constraints), *((None, limit) for limit in limits)]
        cheapest_first = sorted(bounds, key=lambda pair: METRICS[pair[1].metric].kind)
        for position, constraint in cheapest_first:
            if constraint.metric in ARITHMETIC:
                self._checks.append(_Check(position, constraint, ARITHMETIC[constraint.metric]))
            elif constraint.device is not None and constraint.device in predictors:
                predicted = partial(_predicted, predictors[constraint.device], constraint.metric)
                self._checks.append(_Check(position, constraint, predicted))

    def __call__(self, arch: Architecture) -> str | None:
        if not self._checks:
            return None
        graph = self.space.graph(arch, self.task)
        for _, constraint, value in self._checks:
            if not constraint.allows(value(graph)):
                return str(constraint)
        return None

    def check(self, seed: int = 0) -> None:
        """Says before anything runs that the bounds leave nothing.

        Raises: InvalidSpec if a bound lies below the least value of the space (with that value);
        Infeasible, naming the bound that rejected most, if neither the smallest architecture, nor
        ``DRAWS`` random ones, nor as many near the smallest satisfy all bounds.
        """
        smallest = self.space.smallest()
        graph = self.space.graph(smallest, self.task)
        for position, constraint, value in self._checks:
            least = value(graph)
            exact = self.space.ordered and constraint.metric in ARITHMETIC
            if exact and position is not None and constraint.max is not None and least > constraint.max:
                raise InvalidSpec(
                    f"{constraint} cannot be met: the least {constraint.metric} in space {self.space.name} is {least}",
                    hint=f"set max to at least {least}",
                    field=f"constraints.{position}.max",
                )
        rejected: Counter[str] = Counter()
        rng = np.random.default_rng(seed)
        for step in range(DRAWS):
            near = smallest
            for _ in range(step % WALK):
                near = self.space.mutate(near, rng)
            for candidate in (near, self.space.sample(rng)):
                reason = self(candidate)
                if reason is None:
                    return
                rejected[reason] += 1
        bound, count = rejected.most_common(1)[0]
        raise Infeasible(
            f"no architecture of space {self.space.name} within the bounds was found in {2 * DRAWS} draws; "
            f"{bound} rejected most ({count})",
            hint=self._relaxed(bound, rng),
            field="constraints",
        )

    def _relaxed(self, bound: str, rng: np.random.Generator) -> str:
        """What values the bound that rejected most would have met."""
        value, ours = next((c.value, c.position is None) for c in self._checks if str(c.constraint) == bound)
        seen = [value(self.space.graph(self.space.sample(rng), self.task)) for _ in range(200)]
        seen.append(value(self.space.graph(self.space.smallest(), self.task)))
        advice = "it is a limit of the device: take a smaller space or another device" if ours else "relax it"
        return f"{advice}: values of the space run from about {min(seen):,.6g} to {max(seen):,.6g}"


def _predicted(predictor: Predictor, metric: str, graph: Graph) -> float:
    return figure(predictor, metric, graph).value
