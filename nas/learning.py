"""Which networks of a pool to train next, from the zero-shot score at first and then from what training has taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.acquisition import choose
from nas.pareto import rank_by_dominance
from nas.surrogate import predict_pool

Floats = NDArray[np.float64]

START = 10
"""Networks chosen by their score alone, before there is enough to learn from (``nas.surrogate.LEAST`` or more)."""
_WORST = 0.05
"""The share of the pool that is expected to be worse than the reference of the hypervolume."""


class Pool(NamedTuple):
    """n networks: ``features`` (n, d), the zero-shot ``score`` (n,), higher is better, ``costs`` (n, m), minimised."""

    features: Floats
    score: Floats
    costs: Floats


def next_trainings(pool: Pool, trained: Sequence[int], accuracy: ArrayLike, count: int, *, seed: int = 0) -> list[int]:
    """Up to ``count`` networks of the pool that should train next, best first; none twice.

    ``accuracy`` of the ``trained`` ones, higher is better. Without ``START`` of them: the first fronts of score and
    costs. Then those that add most to the front, as far as the surrogate can tell. Pure and deterministic.
    """
    known = list(trained)
    values = np.asarray(accuracy, dtype=np.float64)
    left = np.ones(len(pool.score), dtype=bool)
    left[known] = False
    if len(known) < START:
        order = rank_by_dominance(np.column_stack([-pool.score, pool.costs]))
        return [int(i) for i in order if left[i]][: min(count, START - len(known))]
    believed = predict_pool(pool.features, pool.score, known, values, seed=seed)
    front = np.column_stack([-values, pool.costs[known]])
    reference = np.concatenate([[-np.quantile(believed.mean, _WORST)], pool.costs.max(axis=0)])
    return choose(-believed.mean, believed.error, pool.costs, front, reference, count, left)
