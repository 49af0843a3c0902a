"""Strategies in generations: NSGA-II and NSGA-III on whole arrays of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Indices, Points, crowding_distance, non_dominated_sort
from nas.strategies.proposals import History, Proposal, genes_of

POPULATION = 20
CROSSOVER = 0.9
"""The share of children that have two parents."""
BROOD = 64
"""Children bred at a time."""

Genes = NDArray[np.int64]
Survive = Callable[[Points, int, np.random.Generator], tuple[Indices, NDArray[np.float64]]]
"""``survive(points, count, rng)``: those that stay, and each one's merit as a parent; of two the lower one wins."""


def nsga2(history: History, rng: np.random.Generator, *, population: int = POPULATION) -> Iterator[Proposal]:
    """Children of the elite of all complete generations, by tournament, uniform crossover and mutation.

    The elite fills up front by front, the last front by crowding distance; of two in a tournament the one of the better
    front becomes a parent. Source: Deb et al. 2002, section III; there distance decides within a front.
    """
    return _generations(history, rng, population, _crowded)


def nsga3(history: History, rng: np.random.Generator, *, population: int = POPULATION) -> Iterator[Proposal]:
    """The same, with an elite that is spread along reference directions, for three objectives and more.

    Source: Deb and Jain 2014, section IV; parents are drawn at random from the elite, as there.
    """
    return _generations(history, rng, population, _along_directions)


def _generations(history: History, rng: np.random.Generator, population: int, survive: Survive) -> Iterator[Proposal]:
    """The elite is chosen anew from all earlier generations at every ask, since scores are ranks that move.

    A trial's notes hold its generation, and its genes: the option of every choice, inactive ones too, which
    descendants may activate.
    """
    space = history.space
    generations = np.array([int(trial.notes.get("generation", 0)) for trial in history.trials], dtype=np.int64)
    current = int(generations.max(initial=0))
    if np.count_nonzero(generations == current) >= population:
        current += 1
    options = np.array([len(choice.options) for choice in space.choices])
    earlier = np.flatnonzero(generations < current)
    parents = np.empty((0, len(options)), dtype=np.int64)
    merit = np.empty(0)
    if len(earlier):
        kept, merit = survive(history.points[earlier], population, rng)
        parents = np.stack([genes_of(history.trials[int(i)], space) for i in earlier[kept]])
    while True:
        brood = (
            _bred(parents, merit, options, rng) if len(parents) else rng.integers(1, options + 1, (BROOD, len(options)))
        )
        for genes in brood:
            yield Proposal(space.decode(genes), {"generation": current, "genes": genes.tolist()})


def _bred(parents: Genes, merit: NDArray[np.float64], options: Indices, rng: np.random.Generator) -> Genes:
    """(BROOD, choices): each gene from one of two tournament winners, now and then drawn anew."""
    duels = rng.integers(len(parents), size=(2, BROOD, 2))
    first, second = np.take_along_axis(duels, merit[duels].argmin(axis=2)[..., None], axis=2)[..., 0]
    shape = (BROOD, len(options))
    mixed = (rng.random(shape) < 0.5) & (rng.random((BROOD, 1)) < CROSSOVER)
    genes = np.where(mixed, parents[second], parents[first])
    rate = 1 / max(1, int((options > 1).sum()))
    mutated = rng.random(shape) < rate
    return np.where(mutated, rng.integers(1, options + 1, shape), genes)


def _crowded(points: Points, count: int, rng: np.random.Generator) -> tuple[Indices, NDArray[np.float64]]:
    kept: list[int] = []
    merit: list[float] = []
    for place, front in enumerate(non_dominated_sort(points)):
        if len(kept) >= count:
            break
        kept.extend(front[np.argsort(-crowding_distance(points[front]), kind="stable")][: count - len(kept)].tolist())
        merit.extend([float(place)] * (len(kept) - len(merit)))
    return np.array(kept), np.array(merit)


def _along_directions(points: Points, count: int, rng: np.random.Generator) -> tuple[Indices, NDArray[np.float64]]:
    fronts, total = [], 0
    for front in non_dominated_sort(points):
        fronts.append(front)
        total += len(front)
        if total >= count:
            break
    *whole, last = fronts
    kept = [int(i) for front in whole for i in front]
    if total <= count:
        kept.extend(last.tolist())
    else:
        considered = np.array([*kept, *last.tolist()])
        niche, distance = _niches(_normalised(points[considered], len(fronts[0])), count)
        kept = considered[_fill(niche, distance, len(kept), count, rng)].tolist()
    return np.array(kept), np.zeros(len(kept))


def _fill(
    niche: Indices, distance: NDArray[np.float64], settled: int, count: int, rng: np.random.Generator
) -> list[int]:
    """The first ``settled`` places, and others until there are ``count``: from the emptiest niche each time.

    Into an empty one goes the nearest to its direction, into another any. Source: the same, algorithm 4.
    """
    kept = list(range(settled))
    open_ = list(range(settled, len(niche)))
    while len(kept) < count and open_:
        crowd = {n: sum(niche[i] == n for i in kept) for n in {int(niche[i]) for i in open_}}
        least = min(crowd.values())
        chosen = int(rng.choice(sorted(n for n, size in crowd.items() if size == least)))
        inside = [i for i in open_ if niche[i] == chosen]
        taken = min(inside, key=lambda i: distance[i]) if least == 0 else int(rng.choice(inside))
        kept.append(taken)
        open_.remove(taken)
    return kept


def _normalised(points: Points, first: int) -> Points:
    """From the ideal point 0 to the intercepts 1 of the plane through the extreme points of the first front.

    Where there is no such plane, to the worst of that front. Source: the same, algorithm 2.
    """
    moved = points - points.min(axis=0)
    front, m = moved[:first], points.shape[1]
    weights = np.where(np.eye(m) > 0, 1.0, 1e-6)
    extremes = front[[int((front / weight).max(axis=1).argmin()) for weight in weights]]
    worst = np.where(front.max(axis=0) > 0, front.max(axis=0), 1.0)
    scale: Points = 1 / worst
    with suppress(np.linalg.LinAlgError):
        plane = np.linalg.solve(extremes, np.ones(m))
        if np.isfinite(plane).all() and (plane > scale / 10).all():
            scale = plane
    result: Points = moved * scale
    return result


def _niches(points: Points, count: int) -> tuple[Indices, NDArray[np.float64]]:
    """Of each point the nearest reference direction and the distance from it."""
    directions = _directions(points.shape[1], count)
    along = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    shadow = (points @ along.T)[..., None] * along[None]
    away = np.linalg.norm(points[:, None] - shadow, axis=2)
    niche: Indices = away.argmin(axis=1)
    return niche, away[np.arange(len(points)), niche]


def _directions(objectives: int, count: int) -> Points:
    """At most ``count`` points, evenly spread over the simplex. Source: Das and Dennis 1998, section 3."""
    parts = 1
    while objectives > 1 and comb(parts + objectives, objectives - 1) <= count:
        parts += 1
    bars = combinations(range(parts + objectives - 1), objectives - 1)
    ends = np.array([(-1, *bar, parts + objectives - 1) for bar in bars])
    spread: Points = (np.diff(np.asarray(ends, dtype=np.float64), axis=1) - 1) / parts
    return spread
