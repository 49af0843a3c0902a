"""Architectures by integer programs: the greatest entropy that bounds on cost and on depth by width leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from math import inf, isfinite, isnan, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]

from nas.proxies import deepmad
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
"""Random networks: the median of their effectiveness bounds it, and climbs begin at the best of them too."""
REACH = 8
"""Choices that a program may change at first; half as many after each that was in vain."""
STEPS = 40
"""Programs for one architecture of the sweep, at most."""
DRAWN_STEPS = 2
"""Programs for one of bounds at random, at most."""
TRIED = 16
"""Single changes at random of what a program gave, of which the NEAR best are proposed as well."""
NEAR = 4
GAP = 0.02
"""Of what a program could gain at most, how much may be left."""
NODES = 10
"""Of a program's branching, at most: it is linear where the network is not, and need not be solved to the end."""
REMEMBERED = 50_000
"""Architectures whose figures are kept, and a twentieth of it those of whose neighbours they are."""

Floats = NDArray[np.float64]
Genes = tuple[int, ...]
"""The code of every choice, inactive ones too, which other changes may activate: all at least 1."""


class Figures(NamedTuple):
    """Natural logarithms, but for entropy. Without convolutions entropy is 0, and effectiveness too.

    The three that are bounded are infinite for one that does not fit the task.
    """

    entropy: float
    macs: float
    params: float
    effectiveness: float


class Effects(NamedTuple):
    """Of all single changes of an architecture that fit the task, and of leaving each choice as it is.

    ``at`` (4,) its own figures; ``choices`` (n,) and ``options`` (n,) what a change sets; ``figures`` (n, 4) what that
    adds.
    """

    at: Floats
    choices: NDArray[np.int64]
    options: NDArray[np.int64]
    figures: Floats


def mathematical_programming(
    history: History, rng: np.random.Generator, *, effectiveness: float | None = None
) -> Iterator[Proposal]:
    """The architectures of greatest entropy, by rising bounds on MACs; then by bounds on MACs and parameters at random.

    Each of the latter is followed by the best of its neighbours, which cost no program. ``effectiveness`` is at most
    so much, None for the median of the space's. Neither objectives nor scores are read.

    Source: Shen et al. 2023, arXiv:2303.02165, equation 10. There widths and depths of a chain vary; here
    any choice does, and the programs are linear in the effects of single changes.
    """
    space: Any = history.space  # mypy takes no protocol for hashable
    programs = programs_of(space, history.task or TASK)
    most = log(effectiveness) if effectiveness is not None else programs.usual_effectiveness
    low, high = programs.range
    swept = programs.sweep(most)
    yield from (Proposal(programs.decode(genes)) for genes in swept[len(history.trials) :])
    while True:
        macs, params = rng.random(), (1 + rng.random()) / 2
        bounds = np.append(low + (high - low) * np.array([macs, params]), most)
        found = programs.decode(programs.climb(swept[int(macs * (len(swept) - 1))], bounds, DRAWN_STEPS))
        yield Proposal(found)
        near = [history.space.mutate(found, rng) for _ in range(TRIED)]
        near.sort(key=lambda arch: standing(programs.figures(arch), bounds), reverse=True)
        yield from map(Proposal, near[:NEAR])


def standing(found: Figures, bounds: Floats) -> tuple[float, float]:
    """How good it is under ``bounds`` (3,) on the last three figures: by how little breaks them, then by entropy."""
    return (-round(float(np.maximum(np.array(found[1:]) - bounds, 0.0).sum()), 9), found.entropy)


class Programs:
    """The integer programs of a space and a task. What it keeps are caches of pure functions."""

    def __init__(self, space: SearchSpace, task: Task) -> None:
        self.space = space
        self.task = task
        self._figures: dict[str, Figures] = {}
        self._effects: dict[Genes, Effects] = {}
        self._sweeps: dict[float, tuple[Genes, ...]] = {}

    def decode(self, genes: Sequence[int]) -> Architecture:
        return self.space.decode(np.array(genes, dtype=np.int64))

    def figures(self, arch: Architecture) -> Figures:
        if arch.id not in self._figures:
            if len(self._figures) >= REMEMBERED:
                self._figures.clear()
            self._figures[arch.id] = _figures(self.space, arch, self.task)
        return self._figures[arch.id]

    @cached_property
    def usual_effectiveness(self) -> float:
        """The logarithm of the median of random networks of the space."""
        return float(np.median([self.figures(self.decode(genes)).effectiveness for genes in self._probes]))

    @cached_property
    def range(self) -> tuple[Floats, Floats]:
        """The least and the greatest logarithms of MACs and parameters, (2,) each, of networks with every option."""
        found = np.array([self.figures(arch)[1:3] for arch in (self.space.smallest(), *self.space.cover())])
        found = found[np.isfinite(found).all(axis=1)]
        return found.min(axis=0), found.max(axis=0)

    @cached_property
    def _probes(self) -> list[Genes]:
        rng = np.random.default_rng(0)
        return [self._genes(self.space.sample(rng)) for _ in range(PROBES)]

    def _genes(self, arch: Architecture) -> Genes:
        return tuple(np.maximum(self.space.encode(arch), 1).tolist())

    def sweep(self, most: float) -> tuple[Genes, ...]:
        """For each of SWEEP bounds on MACs the better of two climbs: from the one before, and from a random network.

        ``most`` bounds the logarithm of effectiveness.
        """
        if most not in self._sweeps:
            low, high = self.range
            found = [self._genes(self.space.smallest())]
            for macs in np.linspace(low[0], high[0], SWEEP):
                bounds = np.array([macs, inf, most])
                starts = [found[-1], self._best(self._probes, bounds)]
                found.append(self._best([self.climb(start, bounds) for start in starts], bounds))
            self._sweeps[most] = tuple(found[1:])
        return self._sweeps[most]

    def _best(self, many: Sequence[Genes], bounds: Floats) -> Genes:
        return max(many, key=lambda genes: standing(self.figures(self.decode(genes)), bounds))

    def climb(self, genes: Genes, bounds: Floats, steps: int = STEPS) -> Genes:
        """What no program improves any more, or ``steps`` of them have made of ``genes``.

        ``bounds`` (3,) as in ``standing``. A program is exact for a single change, so that none of those improves what
        is returned if the steps suffice. Where none gets within the bounds, it is what breaks them least.
        """
        at = standing(self.figures(self.decode(genes)), bounds)
        reach = REACH
        for _ in range(steps):
            changed = self.program(genes, bounds, reach)
            reached = standing(self.figures(self.decode(changed)), bounds)
            if reached > at:
                genes, at = changed, reached
            elif reach == 1:
                break
            else:
                reach //= 2
        return genes

    def program(self, genes: Genes, bounds: Floats, reach: int) -> Genes:
        """The best of at most ``reach`` changes if the effects of single changes add up; none where none is found.

        One variable for each option of each active choice. What is within the bounds stays there and gains entropy;
        what is beyond some gets nearer to those, and beyond no other.
        """
        at, choices, options, effects = self.effects(genes)
        active = np.unique(choices)
        if not len(active):
            return genes
        beyond = at[1:] > bounds
        cost = effects[:, 1:][:, beyond].sum(axis=1) if beyond.any() else -effects[:, 0]
        result = milp(
            cost / max(1e-9, np.abs(cost).max()),
            integrality=1,
            bounds=Bounds(0.0, 1.0),
            constraints=[
                LinearConstraint(choices[None] == active[:, None], 1.0, 1.0),
                LinearConstraint((np.array(genes)[choices] == options)[None], len(active) - reach, inf),
                LinearConstraint(effects[:, 1:][:, ~beyond].T, -inf, (bounds - at[1:])[~beyond]),
            ],
            options={"mip_rel_gap": GAP, "node_limit": NODES, "presolve": False},
        )
        changed = np.array(genes)
        if result.x is not None:
            taken = result.x > 0.5
            changed[choices[taken]] = options[taken]
        return tuple(changed.tolist())

    def effects(self, genes: Genes) -> Effects:
        if genes not in self._effects:
            if len(self._effects) >= REMEMBERED // 20:
                self._effects.clear()
            self._effects[genes] = self._single_changes(genes)
        return self._effects[genes]

    def _single_changes(self, genes: Genes) -> Effects:
        here = self.decode(genes)
        changes, found = [], []
        for i in np.flatnonzero(self.space.encode(here)).tolist():
            for option in range(1, len(self.space.choices[i].options) + 1):
                changed = here if option == genes[i] else self.decode((*genes[:i], option, *genes[i + 1 :]))
                if isfinite(self.figures(changed).macs):
                    changes.append((i, option))
                    found.append(self.figures(changed))
        at = np.array(self.figures(here))
        choices, options = np.array(changes, dtype=np.int64).reshape(-1, 2).T
        return Effects(at, choices, options, np.array(found, dtype=np.float64).reshape(-1, 4) - at)


@lru_cache(maxsize=8)
def programs_of(space: Any, task: Task) -> Programs:
    """Made once for each space: a proposer is called anew at every ask."""
    return Programs(space, task)


def _figures(space: SearchSpace, arch: Architecture, task: Task) -> Figures:
    try:
        graph = space.graph(arch, task)
    except InvalidGraph:
        return Figures(0.0, inf, inf, inf)
    macs, params = log(max(1, graph.macs + graph.matmul_macs)), log(max(1, graph.params))
    entropy = deepmad.entropy(GraphOnly(graph))
    if isnan(entropy):
        return Figures(0.0, macs, params, 0.0)
    return Figures(entropy, macs, params, log(deepmad.effectiveness(GraphOnly(graph))))
