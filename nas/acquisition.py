"""Which networks to train next: those that would add most to the front if they turned out as they may.

One objective is predicted, and known only when a network has trained; what it costs is known. Everything is minimised.

What a network may turn out as is a prediction that is optimistic by one standard deviation (Srinivas et al. 2010,
arXiv:0912.3995, with a fixed factor): what is never tried teaches nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.pareto import Points, hypervolume, non_dominated

Floats = NDArray[np.float64]


def improvement(points: ArrayLike, front: ArrayLike, reference: ArrayLike) -> Floats:
    """(n,) the hypervolume that each of ``points`` (n, m) alone would add to what ``front`` (k, m) has.

    ``reference`` (m,) bounds it.
    """
    corner = np.asarray(reference, dtype=np.float64)
    new = np.asarray(points, dtype=np.float64).reshape(-1, len(corner))
    known = np.asarray(front, dtype=np.float64).reshape(-1, len(corner))
    known = known[(known < corner).all(axis=1)]
    known = known[non_dominated(known)]
    if len(corner) == 1:
        gain: Floats = np.clip(np.append(known[:, 0], corner[0]).min() - new[:, 0], 0.0, None)
        return gain
    return _of_two(new, known, corner) if len(corner) == 2 else _of_many(new, known, corner)


def _of_two(new: Points, front: Points, corner: Points) -> Floats:
    """Over the second objective above a point's own: the width of each step of the front times what is gained there."""
    ordered = front[np.argsort(front[:, 1])]
    starts = np.concatenate([[-np.inf], ordered[:, 1]])
    ends = np.append(ordered[:, 1], corner[1])
    best = np.append(corner[0], ordered[:, 0])
    widths = np.clip(ends[None] - np.maximum(starts[None], new[:, 1:]), 0.0, None)
    found: Floats = (widths * np.clip(best[None] - new[:, :1], 0.0, None)).sum(axis=1)
    return found


def _of_many(new: Points, front: Points, corner: Points) -> Floats:
    before = hypervolume(front, corner) if len(front) else 0.0
    found = np.zeros(len(new))
    for i in np.flatnonzero((new < corner).all(axis=1)):
        found[i] = hypervolume(np.vstack([front, new[i]]), corner) - before
    return found


def choose(
    predicted: ArrayLike, costs: ArrayLike, front: ArrayLike, reference: ArrayLike, count: int, open_: ArrayLike
) -> list[int]:
    """Up to ``count`` of the networks whose mask ``open_`` is set, best first.

    ``predicted`` (n,) of the one objective, ``costs`` (n, m - 1) the others; ``front`` (k, m), that objective first.
    Each is believed to turn out as predicted before the next is chosen (Ginsbourger et al. 2010, "kriging believer").
    When none would add anything, there follow the best predicted ones.
    """
    points = np.column_stack([predicted, costs]).astype(np.float64)
    known = np.asarray(front, dtype=np.float64).reshape(-1, points.shape[1])
    left = np.array(open_, dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count and left.any():
        places = np.flatnonzero(left)
        merit = improvement(points[places], known, reference)
        best = int(places[np.lexsort([points[places, 0], -merit])[0]])
        chosen.append(best)
        left[best] = False
        known = np.vstack([known, points[best]])
    return chosen
