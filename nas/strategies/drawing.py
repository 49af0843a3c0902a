"""From what a strategy proposes to architectures that are feasible and new, in a bounded number of draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from nas.strategies.proposals import Proposal
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.errors import Infeasible, NasError, SpaceExhausted

REPEATED = "already proposed"
"""The reason under which draws are counted that gave an architecture a second time."""
PATIENCE = 100
"""Draws from the strategy, repairs included, before the bounds are taken to be tight."""
WALK_STEPS = 8
"""Steps of the walk away from the smallest architecture before it starts again, while nothing is feasible."""

Feasible = Callable[[Architecture], str | None]
"""None, or the text of the bound that rejects the architecture."""


class Drawing:
    """The draws of one ask.

    A proposal that is rejected is repaired by up to ``repairs`` mutations in a row. After PATIENCE draws
    in vain the whole space is gone through in random order where it is small (``members``); elsewhere
    every second draw is a step of a walk that starts at the smallest architecture and goes on from
    whatever is feasible, so bounds that hardly a random draw meets are met.
    """

    def __init__(
        self,
        space: SearchSpace,
        feasible: Feasible,
        proposals: Iterator[Proposal],
        told: Mapping[str, Architecture],
        rng: np.random.Generator,
        *,
        members: Callable[[], Sequence[Architecture]] | None,
        max_draws: int,
        repairs: int,
    ) -> None:
        self.space = space
        self.feasible = feasible
        self.proposals = proposals
        self.known = dict(told)
        self.rng = rng
        self.max_draws = max_draws
        self.repairs = repairs
        self.draws = 0
        self.rejected: Counter[str] = Counter()
        self._members = members
        self._whole: Iterator[Architecture] | None = None
        self._path: Iterator[Architecture] | None = None
        self._notes: Mapping[str, object] = {}

    def take(self) -> Proposal | None:
        """The next architecture that is feasible and new, or None when none was found."""
        if len(self.known) >= self.space.size:
            return None
        for arch in self._candidates():
            self.draws += 1
            reason = REPEATED if arch.id in self.known else self.feasible(arch)
            if reason is None:
                self.known[arch.id] = arch
                return Proposal(arch, self._notes)
            self.rejected[reason] += 1
        return None

    def failure(self) -> NasError:
        """Why nothing was found."""
        name, size = self.space.name, self.space.size
        if len(self.known) >= size:
            return SpaceExhausted(f"all {size:,} architectures of {name} have been proposed", hint="widen the space")
        effort = f"all {size:,} architectures" if self._whole is not None else f"{self.draws:,} draws"
        bounds = [(reason, count) for reason, count in self.rejected.most_common() if reason != REPEATED]
        if not bounds:
            return SpaceExhausted(f"{effort} of {name} gave nothing that is new", hint="widen the space")
        worst, count = bounds[0]
        said = f"{worst} rejected most, {count:,} of {self.draws:,} draws"
        if self.known:
            return SpaceExhausted(
                f"{effort} of {name} gave nothing new within the bounds after {len(self.known):,} trials: {said}",
                hint=f"relax {worst}", field="constraints",
            )  # fmt: skip
        return Infeasible(
            f"{effort} of {name} gave no architecture within the bounds: {said}",
            hint=f"relax {worst}", field="constraints",
        )  # fmt: skip

    def _candidates(self) -> Iterator[Architecture]:
        """What to try for one place, in order; asked for the next one only when the last was rejected."""
        tight = self._whole is not None or self._path is not None
        if not tight:
            yield from islice(self._repaired(), min(PATIENCE, self.max_draws))
        if self._members is not None:
            if self._whole is None:
                self._whole = self._shuffled(self._members())
            yield from self._whole
            return
        if self._path is None:
            self._path = self._walk()
        strategy = self._repaired()
        for _ in range(max(0, self.max_draws - (0 if tight else PATIENCE)) // 2):
            yield next(self._path)
            yield next(strategy)

    def _repaired(self) -> Iterator[Architecture]:
        for proposal in self.proposals:
            self._notes = proposal.notes
            arch = proposal.architecture
            yield arch
            for _ in range(self.repairs):
                arch = self.space.mutate(arch, self.rng)
                yield arch

    def _shuffled(self, members: Sequence[Architecture]) -> Iterator[Architecture]:
        # the iterator of a list: a generator would be closed with the first _candidates that draws from it
        order = self.rng.permutation(len(members)).tolist()
        return iter([members[index] for index in order if members[index].id not in self.known])

    def _walk(self) -> Iterator[Architecture]:
        """Neighbours of random feasible architectures; of the smallest one's neighbours while there are none."""
        smallest = self.space.smallest()
        pool = dict(self.known)
        ground: list[Architecture] = list(pool.values())
        step, at = 0, smallest
        child = smallest
        while True:
            if child.id not in pool and self.feasible(child) is None:
                pool[child.id] = child
                ground.append(child)
            yield child
            if ground:
                at = ground[self.rng.integers(len(ground))]
            elif step % WALK_STEPS == 0:
                at = smallest
            else:
                at = child
            step += 1
            child = self.space.mutate(at, self.rng)
