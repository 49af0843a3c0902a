"""Pareto dominance, hypervolume and picking from a front. Pure numpy; every objective is minimised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.objectives import Goal

Points = NDArray[np.float64]
Indices = NDArray[np.int64]

MARGIN = 0.1
"""How far the reference of a tie-break lies beyond the worst point, as a share of the set's span."""
EXACT_TIES_UP_TO = 3
"""Objectives up to which ties in a front go by hypervolume; its cost grows exponentially with them."""


def signed(values: ArrayLike, goals: Sequence[Goal]) -> Points:
    """Values (n, m) or (m,) with the sign that makes every objective one to minimise."""
    signs = np.array([-1.0 if goal == "maximize" else 1.0 for goal in goals])
    result: Points = np.asarray(values, dtype=np.float64) * signs
    return result


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether ``a`` is nowhere worse than ``b`` and somewhere better. Equal points do not dominate each other."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return bool((x <= y).all() and (x < y).any())


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """(n,) mask of the points (n, m) that no other dominates; copies of a point share its fate."""
    distinct, inverse, _ = _distinct(_checked(points))
    mask: NDArray[np.bool_] = _first_front(distinct)[inverse]
    return mask


def non_dominated_sort(points: ArrayLike) -> list[Indices]:
    """The fronts of the points (n, m), best first, each an array of rising indices.

    Source: Deb et al. 2002 (NSGA-II), section III-A.
    """
    distinct, inverse, _ = _distinct(_checked(points))
    level = np.empty(len(distinct), dtype=np.int64)
    remaining = np.arange(len(distinct))
    fronts = 0
    while len(remaining):
        mask = _first_front(distinct[remaining])
        level[remaining[mask]] = fronts
        remaining = remaining[~mask]
        fronts += 1
    levels = level[inverse]
    order = np.argsort(levels, kind="stable")
    return np.split(order, np.searchsorted(levels[order], np.arange(1, fronts))) if fronts else []


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The exact volume that the points (n, m) dominate within the reference point (m,).

    A point that is not better than the reference in every objective contributes nothing. By a sweep for
    two objectives, by slices for three, and for more by the exclusive volumes of While et al. 2012 (WFG).
    """
    array, corner = _within(points, reference)
    return _volume(_front(array), corner)


def hypervolume_contributions(points: ArrayLike, reference: ArrayLike) -> Points:
    """(n,) what the hypervolume of the points (n, m) loses without each of them; 0 for copies."""
    array = _checked(points)
    corner = _corner(array, reference)
    contributions = np.zeros(len(array))
    inside = np.flatnonzero((array < corner).all(axis=1))
    distinct, inverse, counts = _distinct(array[inside])
    mask = _first_front(distinct)
    if array.shape[1] == 2 and mask.all():
        exclusive = _contributions_2d(distinct, corner)
    elif array.shape[1] == 3:
        exclusive = _contributions_3d(distinct, corner)
    else:
        exclusive = np.zeros(len(distinct))
        for index in np.flatnonzero(mask):
            others = np.delete(distinct, index, axis=0)
            exclusive[index] = _exclusive(distinct[index], others, corner)
    exclusive[counts > 1] = 0.0
    contributions[inside] = exclusive[inverse]
    return contributions


def crowding_distance(points: ArrayLike) -> Points:
    """(n,) the crowding distance of the points (n, m) of one front; infinite at its ends.

    Source: Deb et al. 2002 (NSGA-II), section III-B.
    """
    array = _checked(points)
    distance = np.zeros(len(array))
    for column in array.T:
        order = np.argsort(column, kind="stable")
        sorted_column = column[order]
        if len(array) and sorted_column[-1] > sorted_column[0]:
            distance[order[1:-1]] += (sorted_column[2:] - sorted_column[:-2]) / (sorted_column[-1] - sorted_column[0])
            distance[order[[0, -1]]] = np.inf
    return distance


def rank_by_dominance(points: ArrayLike) -> Indices:
    """(n,) the indices of the points (n, m), best first.

    Fronts in order. Inside a front its ends (the least of each objective) come first, then the larger
    hypervolume contribution, then the lower index; copies of a point stand at the end of their front.
    The reference lies MARGIN of the span beyond the worst of all points, so scales do not matter.
    Beyond EXACT_TIES_UP_TO objectives the crowding distance replaces the contribution.
    """
    scaled = _scaled(_checked(points))
    fronts = non_dominated_sort(scaled)
    return np.concatenate([_rank_front(scaled, front) for front in fronts]) if fronts else np.empty(0, dtype=np.int64)


def knee_point(points: ArrayLike) -> int:
    """The index of the front's point farthest below the plane through the front's ends.

    Each objective is scaled to its range on the front. Source: Das 1999, "On characterizing the knee of
    the Pareto curve". Raises: ValueError without points.
    """
    array = _checked(points)
    front = np.flatnonzero(non_dominated(array))
    if not len(front):
        raise ValueError("a knee needs at least one point")
    values = array[front]
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    height = ((values - low) / np.where(span > 0, span, 1.0)).sum(axis=1)
    return int(front[np.argmin(height)])


def best_under_bound(points: ArrayLike, objective: int, bounds: Sequence[float | None]) -> int | None:
    """The index of the least value of an objective among the points within the upper bounds (inclusive).

    ``bounds`` has one entry an objective, None where it is free. Ties go to the lower sum of places in
    the other objectives, then to the lower index. None where no point is within the bounds.
    """
    array = _checked(points)
    limits = np.array([np.inf if bound is None else bound for bound in bounds])
    allowed = np.flatnonzero((array <= limits).all(axis=1))
    if not len(allowed):
        return None
    best = allowed[array[allowed, objective] == array[allowed, objective].min()]
    places = sum(np.unique(column, return_inverse=True)[1] for column in array[best].T)
    return int(best[np.argmin(places)])


def best_if_relaxed(
    points: ArrayLike, objective: int, bounds: Sequence[float | None], relaxed: int, share: float
) -> int | None:
    """What ``best_under_bound`` gives when the bound of the objective ``relaxed`` is let go by a share of its size.

    0.1 is ten per cent. None where nothing better than within the bounds comes of it.
    Raises: ValueError where that objective has no bound, or for a negative share.
    """
    bound = bounds[relaxed]
    if bound is None or share < 0:
        raise ValueError(f"objective {relaxed} has bound {bound}, to be relaxed by {share:g}")
    wider = [*bounds]
    wider[relaxed] = bound + share * abs(bound)
    before, after = best_under_bound(points, objective, bounds), best_under_bound(points, objective, wider)
    array = _checked(points)
    better = after is not None and (before is None or array[after, objective] < array[before, objective])
    return after if better else None


def hypervolume_over_time(points: ArrayLike, reference: ArrayLike) -> Points:
    """(n,) the hypervolume of the first 1, 2, ... n points (n, m), in the order in which they became known."""
    array = _checked(points)
    corner = _corner(array, reference)
    found, front = np.zeros(len(array)), np.empty((0, len(corner)))
    volume = 0.0
    for i, point in enumerate(array):
        if (point < corner).all() and not (front <= point).all(axis=1).any():
            front = _front(np.vstack([front, point]))
            volume = _volume(front, corner)
        found[i] = volume
    return found


def _checked(points: ArrayLike) -> Points:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, array.shape[1] if array.ndim == 2 else 1)
    if array.ndim != 2 or np.isnan(array).any():
        raise ValueError(f"points must be numbers of shape (points, objectives), got shape {array.shape}")
    return array


def _corner(array: Points, reference: ArrayLike) -> Points:
    corner = np.asarray(reference, dtype=np.float64)
    if corner.ndim != 1 or (len(array) and len(corner) != array.shape[1]):
        raise ValueError(f"a reference of shape {corner.shape} does not fit points of shape {array.shape}")
    return corner


def _within(points: ArrayLike, reference: ArrayLike) -> tuple[Points, Points]:
    array = _checked(points)
    corner = _corner(array, reference)
    return (array[(array < corner).all(axis=1)] if len(array) else np.empty((0, len(corner)))), corner


def _distinct(array: Points) -> tuple[Points, Indices, Indices]:
    """The distinct points in lexicographic order, where each point went, and how many went there."""
    if not len(array):
        return array, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    order = np.lexsort(array.T[::-1])
    ordered = array[order]
    new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    place = np.cumsum(new) - 1
    inverse = np.empty(len(array), dtype=np.int64)
    inverse[order] = place
    return ordered[new], inverse, np.bincount(place)


def _front(array: Points) -> Points:
    """The distinct non-dominated points in lexicographic order."""
    distinct = _distinct(array)[0]
    return distinct[_first_front(distinct)]


def _first_front(ordered: Points) -> NDArray[np.bool_]:
    """Mask of the non-dominated among distinct points in lexicographic order: a dominator stands before."""
    mask = np.ones(len(ordered), dtype=np.bool_)
    if not len(ordered):
        return mask
    if ordered.shape[1] == 1:
        mask[1:] = False
    elif ordered.shape[1] == 2:
        best = np.minimum.accumulate(ordered[:, 1])
        mask[1:] = ordered[1:, 1] < best[:-1]
    else:
        alive = np.arange(len(ordered))
        position = 0
        while position < len(alive):
            kept = (ordered[alive] < ordered[alive[position]]).any(axis=1)
            kept[: position + 1] = True
            alive = alive[kept]
            position += 1
        mask[:] = False
        mask[alive] = True
    return mask


def _volume(front: Points, corner: Points) -> float:
    """Hypervolume of distinct, mutually non-dominated points inside the corner, in lexicographic order."""
    if not len(front):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - front[0, 0])
    if len(corner) == 2:
        heights = np.concatenate([corner[1:], front[:-1, 1]]) - front[:, 1]
        return float(((corner[0] - front[:, 0]) * heights).sum())
    if len(corner) == 3:
        return _volume_3d(front, corner)
    # from the worst in the last objective on, so that a limit set shrinks fast
    front = front[np.argsort(-front[:, -1], kind="stable")]
    return float(sum(_exclusive(point, front[i + 1 :], corner) for i, point in enumerate(front)))


def _volume_3d(front: Points, corner: Points) -> float:
    """Slices along the last objective; each is the area of the points below it."""
    layers = front[np.argsort(front[:, 2], kind="stable")]
    thickness = np.diff(np.append(layers[:, 2], corner[2]))
    flat = np.empty((0, 2))
    total = 0.0
    for point, height in zip(layers[:, :2], thickness, strict=True):
        flat = _front(np.vstack([flat, point]))
        if height > 0:
            total += _volume(flat, corner[:2]) * float(height)
    return total


def _exclusive(point: Points, others: Points, corner: Points) -> float:
    """What ``point`` dominates and ``others`` do not (While et al. 2012, section III)."""
    return float(np.prod(corner - point)) - _volume(_front(np.maximum(others, point)), corner)


def _contributions_2d(front: Points, corner: Points) -> Points:
    """Of mutually non-dominated points in lexicographic order: the box between the two neighbours."""
    right = np.append(front[1:, 0], corner[0])
    above = np.concatenate([corner[1:], front[:-1, 1]])
    area: Points = (right - front[:, 0]) * (above - front[:, 1])
    return area


def _contributions_3d(points: Points, corner: Points) -> Points:
    """Of distinct points: slices along the last objective, each cut into the cells of a grid.

    A cell that exactly one point dominates belongs to that point; ``owner`` holds the sum of the numbers
    of the points that dominate a cell, which is the point's own number where ``count`` is 1.
    """
    contributions = np.zeros(len(points))
    if not len(points):
        return contributions
    xs, ys = np.unique(points[:, 0]), np.unique(points[:, 1])
    areas = np.outer(np.diff(np.append(xs, corner[0])), np.diff(np.append(ys, corner[1])))
    columns, rows = np.searchsorted(xs, points[:, 0]), np.searchsorted(ys, points[:, 1])
    count = np.zeros(areas.shape, dtype=np.int64)
    owner = np.zeros(areas.shape, dtype=np.int64)
    order = np.argsort(points[:, 2], kind="stable")
    thickness = np.diff(np.append(points[order, 2], corner[2]))
    for index, height in zip(order, thickness, strict=True):
        count[columns[index] :, rows[index] :] += 1
        owner[columns[index] :, rows[index] :] += index
        if height > 0:
            alone = count == 1
            contributions += height * np.bincount(owner[alone], weights=areas[alone], minlength=len(points))
    return contributions


def _scaled(array: Points) -> Points:
    """Each objective to 0..1 over its finite values; what is infinite goes to the reference or to 0."""
    scaled = np.zeros_like(array)
    for place, column in enumerate(array.T):
        finite = column[np.isfinite(column)]
        low, span = (finite.min(), np.ptp(finite)) if len(finite) else (0.0, 0.0)
        bounded = np.where(np.isfinite(column), column, np.where(column > 0, low + (1 + MARGIN) * (span or 1.0), low))
        scaled[:, place] = (bounded - low) / (span or 1.0)
    return scaled


def _rank_front(scaled: Points, front: Indices) -> Indices:
    """The indices of one front, best first."""
    distinct, first = np.unique(scaled[front], axis=0, return_index=True)
    if scaled.shape[1] <= EXACT_TIES_UP_TO:
        merit = hypervolume_contributions(distinct, np.full(scaled.shape[1], 1 + MARGIN))
    else:
        merit = crowding_distance(distinct)
    order = np.lexsort([first, -merit])
    ends = np.zeros(len(distinct), dtype=np.bool_)
    for column in distinct.T:
        ends[order[np.argmin(column[order])]] = True
    leading = front[first[np.concatenate([order[ends[order]], order[~ends[order]]])]]
    copies = np.setdiff1d(front, leading)
    return np.concatenate([leading, copies])
