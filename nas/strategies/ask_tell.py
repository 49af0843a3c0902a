"""Ask and tell around a proposer: the history in, feasible and new proposals out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

import numpy as np

from nas.looks import Look
from nas.objectives import Goal
from nas.strategies.drawing import Drawing, Feasible
from nas.strategies.proposals import History, Proposal, Proposer, ScoredTrial
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.errors import InvalidSpec
from search_spaces.task import Task

WHOLE_SPACE = 20_000
"""Combinations of options up to which a space is gone through whole when the draws find nothing."""
REMEMBERED = 100_000
"""Verdicts of ``feasible`` that are kept."""


class AskTell:
    """A Strategy made of a proposer.

    What it keeps between calls is the history, counters for the report, and caches of pure functions.
    """

    def __init__(
        self,
        propose: Proposer,
        *,
        space: SearchSpace,
        feasible: Feasible,
        goals: Sequence[Goal],
        score: str,
        seed: int,
        max_draws: int,
        repairs: int,
        look: Callable[[Architecture], Look] | None = None,
        task: Task | None = None,
    ) -> None:
        self.space = space
        self.goals = tuple(goals)
        self.score = score
        self.seed = seed
        self.max_draws = max_draws
        self.repairs = repairs
        self._propose = propose
        self._look = look
        self._task = task
        self._feasible = feasible
        self._verdicts: dict[str, str | None] = {}
        self._trials: dict[int, ScoredTrial] = {}
        self._rejected: Counter[str] = Counter()
        self._members: Callable[[], Sequence[Architecture]] | None = None
        if prod(len(choice.options) for choice in space.choices) <= WHOLE_SPACE:
            self._members = self._whole_space
        self._listed: list[Architecture] = []

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many draws each reason has rejected since the strategy was made."""
        return dict(self._rejected)

    def tell(self, trials: Sequence[ScoredTrial]) -> None:
        """Adds trials; one of a number already told replaces it. Raises: InvalidSpec on a missing objective."""
        for trial in trials:
            if len(trial.values) != len(self.goals):
                raise InvalidSpec(
                    f"trial {trial.number} has {len(trial.values)} values",
                    hint=f"one for each of the {len(self.goals)} objectives",
                )
            self._trials[trial.number] = trial

    def ask(self, n: int) -> list[Proposal]:
        """At most ``n`` feasible, new architectures. Raises: SpaceExhausted, Infeasible when there is none."""
        trials = tuple(self._trials[number] for number in sorted(self._trials))
        rng = np.random.default_rng([self.seed, len(trials)])
        history = History(self.space, trials, self.goals, self.score, self._look, self._verdict, self._task)
        drawing = Drawing(
            self.space,
            self._verdict,
            self._propose(history, rng),
            {trial.architecture.id: trial.architecture for trial in trials},
            rng,
            members=self._members,
            max_draws=self.max_draws,
            repairs=self.repairs,
        )
        proposals: list[Proposal] = []
        while len(proposals) < n and (proposal := drawing.take()) is not None:
            proposals.append(proposal)
        self._rejected.update(drawing.rejected)
        if n > 0 and not proposals:
            raise drawing.failure()
        return proposals

    def _verdict(self, arch: Architecture) -> str | None:
        """``feasible(arch)``, remembered: repairs and walks come by the same architecture again."""
        if arch.id not in self._verdicts:
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            self._verdicts[arch.id] = self._feasible(arch)
        return self._verdicts[arch.id]

    def _whole_space(self) -> Sequence[Architecture]:
        """Every architecture, once; inactive choices make some combinations equal."""
        if not self._listed:
            codes = product(*(range(1, len(choice.options) + 1) for choice in self.space.choices))
            self._listed = list(dict.fromkeys(self.space.decode(np.array(code, dtype=np.int64)) for code in codes))
        return self._listed
