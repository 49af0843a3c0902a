"""Architectures by integer programs: the greatest entropy that bounds on cost and on depth by width leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]

from nas.proxies.deepmad import effectiveness, entropy
from nas.proxies.passes import GraphOnly
from nas.strategies.proposals import History, Proposal
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.errors import InvalidGraph
from search_spaces.task import Classification, Task

TASK = Task((3, 32, 32), Classification(10))
"""What the networks are for where nothing is known of it."""
SWEEP = 12
"""Bounds on MACs, from the smallest network's to the largest's, with which a search begins."""
PROBES = 64
"""Random networks, the median of whose effectiveness is the bound where none is given."""
TRIED = 16
"""Single changes at random of what a program gave, of which the NEAR best are proposed as well."""
NEAR = 4
REACH = 8
"""Choices that a program may change at first; half as many after each that was in vain."""
STEPS = 40
"""Programs for one architecture of the sweep, at most."""
DRAWN_STEPS = 2
"""Programs for one of bounds at random, at most."""
GAP = 0.02
"""Of what a program could gain at most, how much may be left."""
POINTS = 2_000
"""Architectures of which the effects of all single changes are kept."""
REMEMBERED = 50_000
"""Architectures whose figures are kept."""

Floats = NDArray[np.float64]


def mathematical_programming(
    history: History, rng: np.random.Generator, *, most: float | None = None
) -> Iterator[Proposal]:
    """The architectures of greatest entropy, by rising bounds on MACs; then by bounds on MACs and parameters at random.

    Each of the latter is followed by its best neighbours, which cost no program.
    ``most`` is the bound on effectiveness, None for the median of the space's. No objective and no score is read.
    Source: Shen et al. 2023, arXiv:2303.02165, equation 10; what is not linear there, is here a sequence of programs.
    """
    space, task = history.space, history.task or TASK
    most = usual_effectiveness(space, task) if most is None else most
    low, high = _range(space, task)
    for _, codes in _sweep(space, task, most)[len(history.trials) :]:
        yield Proposal(space.decode(np.array(codes)))
    while True:
        share = rng.random(2)
        bounds = low + (high - low) * np.array([share[0], (1 + share[1]) / 2])
        found = space.decode(widest_within(space, task, np.append(bounds, log(most)), most))
        yield Proposal(found)
        near = [space.mutate(found, rng) for _ in range(TRIED)]
        near.sort(key=lambda arch: _merit(figures(space, arch, task), np.append(bounds, log(most))), reverse=True)
        yield from map(Proposal, near[:NEAR])


def widest_within(space: SearchSpace, task: Task, bounds: Floats, most: float) -> NDArray[np.int64]:
    """(choices,) codes, from the last of the sweep that has fewer MACs. ``bounds`` as in ``climb``."""
    begun = [codes for macs, codes in _sweep(space, task, most) if macs <= bounds[0]]
    return climb(space, task, np.array(begun[-1]), bounds, DRAWN_STEPS)


def climb(
    space: SearchSpace, task: Task, codes: NDArray[np.int64], bounds: Floats, steps: int = STEPS
) -> NDArray[np.int64]:
    """(choices,) codes that no program improves any more, from ``codes`` (choices,), all of at least 1.

    ``bounds`` (3,): the logarithms of MACs, parameters and effectiveness at most. A program is exact for one change, so
    that none of those improves what is returned; where nothing within the bounds is reached, it is what breaks them least.
    """
    at = figures(space, space.decode(codes), task)
    reach = min(REACH, len(codes))
    for _ in range(steps):
        step = _program(space, task, codes, bounds, reach)
        found = figures(space, space.decode(step), task)
        if _merit(found, bounds) > _merit(at, bounds):
            codes, at = step, found
        elif reach == 1:
            break
        else:
            reach //= 2
    return codes


def _merit(at: Sequence[float], bounds: Floats) -> tuple[float, float]:
    over = float(np.maximum(np.array(at[1:]) - bounds, 0.0).sum())
    return (-round(over, 9), at[0])


def _program(space: SearchSpace, task: Task, codes: NDArray[np.int64], bounds: Floats, reach: int) -> NDArray[np.int64]:
    """The codes with at most ``reach`` changes that are best if the effects of single changes add up.

    One variable for each option of each active choice, and one for how far each bound is exceeded: what is within the
    bounds stays there and gains entropy, anything else gets nearer to them.
    """
    at, owners, options, effects = _effects(space, task, tuple(codes.tolist()))
    if not len(owners):
        return codes
    within = bool((at[1:] <= bounds).all())
    gain = effects[:, 0] / max(1e-9, np.abs(effects[:, 0]).max())
    count, choices = len(owners), np.unique(owners)
    one_each = np.hstack([owners[None] == choices[:, None], np.zeros((len(choices), 3))])
    kept = np.append(codes[owners] == options, np.zeros(3))
    result = milp(
        np.concatenate([-gain, np.zeros(3)]) if within else np.repeat([0.0, 1.0], [count, 3]),
        integrality=np.repeat([1, 0], [count, 3]),
        bounds=Bounds(0.0, np.repeat([1.0, 0.0 if within else np.inf], [count, 3])),
        constraints=[
            LinearConstraint(one_each, 1.0, 1.0),
            LinearConstraint(np.hstack([effects[:, 1:].T, -np.eye(3)]), -np.inf, bounds - at[1:]),
            LinearConstraint(kept[None], len(choices) - reach, np.inf),
        ],
        options={"mip_rel_gap": GAP, "node_limit": 10, "presolve": False},
    )
    step = codes.copy()
    if result.x is not None:
        taken = result.x[:count] > 0.5
        step[owners[taken]] = options[taken]
    return step


@lru_cache(maxsize=POINTS)
def _effects(
    space: SearchSpace, task: Task, codes: tuple[int, ...]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], Floats]:
    """The figures (4,) at the codes; choice (n,), option (n,) and effect on the figures (n, 4) of each single change.

    Options that are chosen already are among them, those of a network that does not fit the task are not.
    """
    here = space.decode(np.array(codes))
    at = np.array(figures(space, here, task))
    changes, effects = [], []
    for i in np.flatnonzero(space.encode(here)).tolist():
        for option in range(1, len(space.choices[i].options) + 1):
            changed = space.decode(np.array([*codes[:i], option, *codes[i + 1 :]])) if option != codes[i] else here
            effect = np.array(figures(space, changed, task)) - at
            if np.isfinite(effect).all():
                changes.append((i, option))
                effects.append(effect)
    owners, options = np.array(changes, dtype=np.int64).reshape(-1, 2).T
    return at, owners, options, np.array(effects, dtype=np.float64).reshape(-1, 4)


@lru_cache(maxsize=REMEMBERED)
def figures(space: SearchSpace, arch: Architecture, task: Task) -> tuple[float, float, float, float]:
    """Entropy, and the logarithms of MACs, parameters and effectiveness. Entropy is 0 without convolutions.

    All but entropy are infinite for a network that does not fit the task.
    """
    try:
        graph = space.graph(arch, task)
    except InvalidGraph:
        return (0.0, np.inf, np.inf, np.inf)
    has = entropy(GraphOnly(graph))
    macs, params = log(max(1, graph.macs + graph.matmul_macs)), log(max(1, graph.params))
    return (0.0, macs, params, 0.0) if np.isnan(has) else (has, macs, params, log(effectiveness(GraphOnly(graph))))


@lru_cache(maxsize=8)
def usual_effectiveness(space: SearchSpace, task: Task) -> float:
    """The median of random networks of the space."""
    rng = np.random.default_rng(0)
    return float(np.exp(np.median([figures(space, space.sample(rng), task)[3] for _ in range(PROBES)])))


@lru_cache(maxsize=8)
def _range(space: SearchSpace, task: Task) -> tuple[Floats, Floats]:
    """The least and the greatest logarithms of MACs and parameters, (2,) each, of networks with every option."""
    found = np.array([figures(space, arch, task)[1:3] for arch in (space.smallest(), *space.cover())])
    found = found[np.isfinite(found).all(axis=1)]
    return found.min(axis=0), found.max(axis=0)


@lru_cache(maxsize=8)
def _sweep(space: SearchSpace, task: Task, most: float) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """The bound on the logarithm of MACs and the codes, each begun at the one before."""
    low, high = _range(space, task)
    rng = np.random.default_rng(0)
    probes = [np.maximum(space.encode(space.sample(rng)), 1) for _ in range(PROBES)]
    codes = np.maximum(space.encode(space.smallest()), 1)
    found = []
    for macs in np.linspace(low[0], high[0], SWEEP):
        bounds = np.array([macs, np.inf, log(most)])

        def merit(codes: NDArray[np.int64]) -> tuple[float, float]:
            return _merit(figures(space, space.decode(codes), task), bounds)

        codes = max((climb(space, task, start, bounds) for start in (codes, max(probes, key=merit))), key=merit)
        found.append((float(macs), tuple(codes.tolist())))
    return tuple(found)
