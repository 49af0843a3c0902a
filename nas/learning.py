"""Which networks to train next, or to score next: from the zero-shot score at first, then as training has taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.acquisition import choose
from nas.pareto import rank_by_dominance
from nas.surrogate import guess_score, normal_scores, predict_pool

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
    """n networks: ``features`` (n, d), the zero-shot ``score`` (n,), higher is better, ``costs`` (n, m), minimised.

    A network that is not scored yet has the score nan.
    """

    features: Floats
    score: Floats
    costs: Floats


def next_trainings(pool: Pool, trained: Sequence[int], accuracy: ArrayLike, count: int, *, seed: int = 0) -> list[int]:
    """Up to ``count`` scored networks of the pool that should train next, best first; none twice.

    ``accuracy`` of the ``trained`` ones, higher is better. Without ``START`` of them: the first fronts of score and
    costs. Then those that would add most to the front if the surrogate is right. Pure and deterministic.
    """
    left = ~np.isnan(pool.score)
    left[list(trained)] = False
    return _most_promising(pool, trained, accuracy, count, left, seed)


def next_to_score(pool: Pool, trained: Sequence[int], accuracy: ArrayLike, count: int, *, seed: int = 0) -> list[int]:
    """Up to ``count`` networks of the pool that are not scored and should be, best first: ``next_trainings`` of them.

    What they would score is guessed from the features of those that are scored.
    """
    return _most_promising(pool, trained, accuracy, count, np.isnan(pool.score), seed)


def _most_promising(
    pool: Pool, trained: Sequence[int], accuracy: ArrayLike, count: int, left: NDArray[np.bool_], seed: int
) -> list[int]:
    known, score = list(trained), guess_score(pool.features, pool.score, seed=seed)
    if len(known) < START:
        order = rank_by_dominance(np.column_stack([-score, pool.costs]))
        return [int(i) for i in order if left[i]][:count]
    values = np.asarray(accuracy, dtype=np.float64)
    predicted = predict_pool(pool.features, score, known, values, seed=seed)
    front = np.column_stack([-values, pool.costs[known]])
    reference = np.concatenate([[-np.quantile(predicted, _WORST)], pool.costs.max(axis=0)])
    return choose(-predicted, pool.costs, front, reference, count, left)


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
) -> Floats:
    """(n, d) what the surrogate sees: the options chosen, the networks' form, and the proxies by rank.

    ``codes`` (n, choices) of ``SearchSpace.encode``, ``forms`` (n, f) of ``graph_features``.
    """
    chosen = np.asarray(codes, dtype=np.int64)
    options = [chosen == option for option in range(1, int(chosen.max(initial=0)) + 1)]
    by_rank = [normal_scores([np.nan if (x := v.get(name)) is None else x for v in proxies]) for name in names]
    return np.column_stack([*options, np.asarray(forms), *by_rank]).astype(np.float64)


def ranks_at_all(tau: float, trained: int) -> bool:
    """Whether a Kendall's tau is more than chance gives once in twenty; with few networks nothing is said against it.

    Source: Kendall 1938, the variance of tau between independent orders.
    """
    if trained < JUDGED:
        return True
    return tau > _CHANCE * sqrt(2 * (2 * trained + 5) / (9 * trained * (trained - 1)))
