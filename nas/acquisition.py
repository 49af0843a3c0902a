"""Which networks to train next: those that are expected to add most to the front.

One objective is uncertain until a network has trained; what it costs is known. Everything is minimised.
"""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.pareto import Points, hypervolume, non_dominated

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_LEAST_ERROR = 1e-12


def expected_improvement(
    mean: ArrayLike, error: ArrayLike, costs: ArrayLike, front: ArrayLike, reference: ArrayLike
) -> Floats:
    """(n,) the hypervolume that each network is expected to add to the front.

    ``mean`` and ``error`` (n,): normal beliefs of the uncertain objective. ``costs`` (n, m - 1): the others.
    ``front`` (k, m): what is known, the uncertain objective first; ``reference`` (m,). Exact for two objectives
    (Emmerich et al. 2011, with one deterministic) and for one; by quadrature over five values beyond.
    """
    mu, sigma = np.asarray(mean, dtype=np.float64), np.maximum(np.asarray(error, dtype=np.float64), _LEAST_ERROR)
    known, corner = np.asarray(costs, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    points = np.asarray(front, dtype=np.float64).reshape(-1, len(corner))
    points = points[(points < corner).all(axis=1)]
    points = points[non_dominated(points)]
    if known.shape[1] == 0:
        best = np.append(points[:, 0], corner[0]).min()
        return _gain(np.array([best]), mu, sigma)[:, 0]
    if known.shape[1] == 1:
        return _of_two(mu, sigma, known[:, 0], points, corner)
    return _by_quadrature(mu, sigma, known, points, corner)


def _of_two(mu: Floats, sigma: Floats, cost: Floats, front: Points, corner: Points) -> Floats:
    """Over the costs above a network's own: their width times the expected improvement on the best value there."""
    ordered = front[np.argsort(front[:, 1])]
    starts = np.concatenate([[-np.inf], ordered[:, 1]])
    ends = np.append(ordered[:, 1], corner[1])
    best = np.append(corner[0], ordered[:, 0])
    widths = np.clip(ends[None] - np.maximum(starts[None], cost[:, None]), 0.0, None)
    found: Floats = (widths * _gain(best, mu, sigma)).sum(axis=1)
    return found


def _gain(best: Floats, mu: Floats, sigma: Floats) -> Floats:
    """(n, b) how far each network is expected to come below each value (Mockus 1975, expected improvement)."""
    from scipy.special import ndtr  # type: ignore[import-untyped]

    u = (best[None] - mu[:, None]) / sigma[:, None]
    found: Floats = sigma[:, None] * (u * ndtr(u) + np.exp(-0.5 * u * u) / np.sqrt(2 * pi))
    return found


def _by_quadrature(mu: Floats, sigma: Floats, costs: Floats, front: Points, corner: Points) -> Floats:
    before = hypervolume(front, corner) if len(front) else 0.0
    found = np.zeros(len(mu))
    for i in np.flatnonzero((costs < corner[1:]).all(axis=1)):
        for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True):
            point = np.concatenate([[mu[i] + node * sigma[i]], costs[i]])
            found[i] += weight * (hypervolume(np.vstack([front, point]), corner) - before)
    return found


def choose(
    mean: ArrayLike,
    error: ArrayLike,
    costs: ArrayLike,
    front: ArrayLike,
    reference: ArrayLike,
    count: int,
    open_: ArrayLike,
) -> list[int]:
    """Up to ``count`` of the networks whose mask ``open_`` is set, best first.

    Each is believed to come out as its mean before the next is chosen (Ginsbourger et al. 2010, "kriging believer").
    Those without any gain follow in order of their mean.
    """
    mu, known = np.asarray(mean, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    points = np.asarray(front, dtype=np.float64).reshape(-1, known.shape[1] + 1)
    left = np.array(open_, dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count and left.any():
        places = np.flatnonzero(left)
        gain = expected_improvement(mu[places], np.asarray(error)[places], known[places], points, reference)
        best = int(places[np.lexsort([mu[places], -gain])[0]])
        chosen.append(best)
        left[best] = False
        points = np.vstack([points, [mu[best], *known[best]]])
    return chosen
