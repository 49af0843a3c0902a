"""Which networks to train next, or to score next: from the zero-shot score at first, then as training has taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.acquisition import choose
from nas.pareto import rank_by_dominance
from nas.scores import ranks
from nas.surrogate import Lesson, kendall_tau, normal_scores, predict_rungs

Floats = NDArray[np.float64]

START = 10
"""Networks chosen by their score alone, before there is enough to learn from (``nas.surrogate.LEAST`` or more)."""
WAVE = 5
"""Networks trained, at least, between two fits of the surrogate."""
JUDGED = 20
"""Trained networks, from which on a proxy that does not rank them is dropped."""
_CHANCE = 1.645  # standard deviations that chance exceeds once in twenty
_WORST = 0.05
"""The share of the pool that is expected to be worse than the reference of the hypervolume."""


class Pool(NamedTuple):
    """n networks: groups of ``features`` (n, d), the zero-shot ``score`` (n,), higher is better, and ``costs`` (n, m).

    Costs are minimised. A network that is not scored yet has the score nan.
    """

    features: tuple[Floats, ...]
    score: Floats
    costs: Floats


def next_trainings(pool: Pool, lessons: Sequence[Lesson], count: int) -> list[int]:
    """Up to ``count`` scored networks of the pool that should train next, best first; none twice.

    ``lessons`` of the rungs, the lowest first; who is in the first is trained. Without ``START`` of them: the first
    fronts of score and costs. Then those that would add most to the front if they turned out one standard deviation
    better than the surrogate predicts. Pure and deterministic.
    """
    trained = [*np.asarray(lessons[0].trained, dtype=np.int64)] if lessons else []
    left = ~np.isnan(pool.score)
    left[trained] = False
    if len(trained) < START:
        places = np.flatnonzero(left)
        order = rank_by_dominance(np.column_stack([-pool.score, pool.costs])[places])
        return [int(i) for i in places[order]][:count]
    return _most_promising(pool, lessons, count, left)


def next_to_score(pool: Pool, lessons: Sequence[Lesson], count: int) -> list[int]:
    """Up to ``count`` networks of the pool that are not scored and should be, best first: ``next_trainings`` of them.

    Raises: InvalidSpec with fewer than ``nas.surrogate.LEAST`` trained.
    """
    return _most_promising(pool, lessons, count, np.isnan(pool.score))


def _most_promising(pool: Pool, lessons: Sequence[Lesson], count: int, left: NDArray[np.bool_]) -> list[int]:
    """The front is of all that has trained: as reached at the rung that is predicted, or else as predicted there."""
    predicted, rung = predict_rungs(pool.features, lessons)
    known = np.asarray(lessons[0].trained, dtype=np.int64)
    values = predicted.mean.copy()
    values[np.asarray(lessons[rung].trained, dtype=np.int64)] = lessons[rung].metric
    front = np.column_stack([-values[known], pool.costs[known]])
    reference = np.concatenate([[-np.quantile(predicted.mean, _WORST)], pool.costs.max(axis=0)])
    return choose(-predicted.optimistic, pool.costs, front, reference, count, left)


def lessons_of(accuracies: Sequence[Sequence[float]]) -> list[Lesson]:
    """The lessons of the first networks of a pool, from what each has reached rung by rung."""
    rungs = max(map(len, accuracies), default=0)
    done = [[i for i, reached in enumerate(accuracies) if len(reached) > rung] for rung in range(rungs)]
    return [Lesson(places, [accuracies[i][rung] for i in places]) for rung, places in enumerate(done)]


def wave_size(trained: int) -> int:
    """How many train before the next lesson: one network more says little beside many."""
    return START - trained if trained < START else max(WAVE, trained // 10)


def scored_before(trained: int, scored: int, trainings: int) -> int:
    """How many of the ``scored`` networks of a budget are scored when so many of its ``trainings`` are done.

    One half before the first, the other wave by wave, where the trained ones point to. All at first where the budget
    ends before there is anything to learn from.
    """
    if trainings <= START:
        return scored
    return ceil(scored * (1 + min(1.0, trained / max(1, trainings - WAVE))) / 2)


def pool_features(
    codes: ArrayLike, forms: ArrayLike, proxies: Sequence[Mapping[str, float | None]], names: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """What the surrogate sees of n networks, (n, d) each: options chosen, form, and the proxies of ``names`` by rank.

    ``codes`` (n, choices) of ``SearchSpace.encode``, ``forms`` (n, f) of ``graph_features``.
    """
    chosen, count = np.asarray(codes, dtype=np.int64), len(proxies)
    options = [chosen == option for option in range(1, int(chosen.max(initial=0)) + 1)]
    by_rank = [normal_scores([np.nan if (x := v.get(name)) is None else x for v in proxies]) for name in names]
    return (
        np.column_stack([np.empty((count, 0)), *options]).astype(np.float64),
        np.asarray(forms, dtype=np.float64),
        np.column_stack([np.empty((count, 0)), *by_rank]),
    )


def those_that_rank(
    names: Sequence[str], proxies: Sequence[Mapping[str, float | None]], accuracy: ArrayLike
) -> tuple[str, ...]:
    """The names of the proxies that rank the trained networks by ``accuracy``, whose values ``proxies`` are."""
    values = np.asarray(accuracy, dtype=np.float64)
    taus = {name: kendall_tau(ranks([each.get(name) for each in proxies]), values) for name in names}
    return tuple(name for name, tau in taus.items() if ranks_at_all(tau, len(values)))


def ranks_at_all(tau: float, trained: int) -> bool:
    """Whether a Kendall's tau is more than chance gives once in twenty; with few networks nothing is said against it.

    Source: Kendall 1938, the variance of tau between independent orders.
    """
    if trained < JUDGED:
        return True
    return tau > _CHANCE * sqrt(2 * (2 * trained + 5) / (9 * trained * (trained - 1)))
