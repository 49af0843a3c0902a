"""What the default proposes: evolution by the score, and from the first trained networks on what they have taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from nas.learning import START, Pool, lessons_of, next_to_score, pool_features
from nas.looks import Look
from nas.pareto import rank_by_dominance
from nas.scores import score_values
from nas.strategies.evolution import regularized_evolution
from nas.strategies.proposals import History, Proposal, ScoredTrial
from search_spaces.architecture import Architecture

CANDIDATES = 1_000
"""New architectures that are looked at for one ask."""
CHOSEN = 50
"""Of them, how many are proposed before evolution goes on."""
PARENTS = 30
"""Trained networks, by non-dominated rank, whose neighbours are candidates."""
STEPS = 3
"""Mutations, at most, between a parent and a candidate."""


def learned(history: History, rng: np.random.Generator, **evolution: Any) -> Iterator[Proposal]:
    """Regularised evolution while fewer than ``START`` networks have trained; ``evolution`` are its options.

    Then the candidates that are expected to add most to the front, by ``nas.learning.next_to_score``: neighbours of the
    best trained networks, crosses of two of them, and random draws, a third each.
    """
    trained = [trial for trial in history.trials if trial.accuracies]
    if history.look is not None and len(trained) >= START and any(value is None for value in trained[0].values):
        yield from map(Proposal, _promising(history, history.look, trained, rng))
    yield from regularized_evolution(history, rng, **evolution)


def _promising(
    history: History, look: Callable[[Architecture], Look], trained: Sequence[ScoredTrial], rng: np.random.Generator
) -> list[Architecture]:
    known = {trial.architecture.id for trial in history.trials}
    drawn = {arch.id: arch for arch in islice(_neighbourhood(history, trained, rng), CANDIDATES)}
    feasible = history.feasible or (lambda _: None)
    new = [arch for arch in drawn.values() if arch.id not in known and feasible(arch) is None]
    others = [trial for trial in history.trials if not trial.accuracies]
    archs = [*(trial.architecture for trial in (*trained, *others)), *new]
    looks = [look(arch) for arch in archs]
    unknown = np.array([cost is None for cost in looks[0].costs])
    costs = np.array([each.costs for each in looks], dtype=np.float64)[:, ~unknown]
    score = np.full(len(archs), np.nan)
    score[: len(history.trials)] = score_values(history.score, [trial.proxies for trial in (*trained, *others)])
    codes, forms = np.stack([each.codes for each in looks]), np.stack([each.form for each in looks])
    pool = Pool(pool_features(codes, forms, [{}] * len(archs), ()), score, costs)
    chosen = next_to_score(pool, lessons_of([trial.accuracies for trial in trained]), CHOSEN)
    return [archs[i] for i in chosen]


def _neighbourhood(
    history: History, trained: Sequence[ScoredTrial], rng: np.random.Generator
) -> Iterator[Architecture]:
    space = history.space
    points = np.array([[-t.accuracies[0] if value is None else value for value in t.values] for t in trained])
    parents = [trained[int(i)].architecture for i in rank_by_dominance(points)[:PARENTS]]

    def parent() -> Architecture:
        return parents[int(rng.integers(len(parents)))]

    while True:
        near = parent()
        for _ in range(int(rng.integers(1, STEPS + 1))):
            near = space.mutate(near, rng)
        yield near
        yield space.mutate(space.crossover(parent(), parent(), rng), rng)
        yield space.sample(rng)
