"""Strategies by Optuna's samplers, rebuilt from the history at every ask."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, create_trial

from nas.pareto import Indices, non_dominated_sort
from nas.strategies.proposals import History, Proposal, ScoredTrial
from search_spaces.architecture import SearchSpace

INITIAL = 20
REMEMBERED = 500
"""Trials that the tree-structured Parzen estimator learns from: the best half of them, and the latest others."""

Genome = dict[str, BaseDistribution]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study


def tpe(history: History, rng: np.random.Generator, *, initial: int = INITIAL) -> Iterator[Proposal]:
    """Options that are more frequent among the better trials than among the others; the first ``initial`` are random.

    Source: Ozaki et al. 2022, doi:10.1613/jair.1.13188; optuna.samplers.TPESampler.
    """
    with _experimental():
        sampler = TPESampler(n_startup_trials=initial, multivariate=True, seed=int(rng.integers(2**32)))
    genome = _genome(history.space)
    best = _eligible(history, np.arange(len(history.trials)), REMEMBERED // 2)[: REMEMBERED // 2]
    latest = [i for i in range(len(history.trials)) if i not in set(best)][-(REMEMBERED - len(best)) :]
    told = [_told(history.trials[i], history.points[i], history.space, genome) for i in sorted([*best, *latest])]
    for genes, arch in _asked(sampler, history, genome, told):
        yield Proposal(arch, {"genes": genes})


@contextmanager
def _experimental() -> Iterator[None]:
    """Optuna says of some samplers that their interface may change: the version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _genome(space: SearchSpace) -> Genome:
    return {
        choice.name: CategoricalDistribution(range(1, len(choice.options) + 1))
        for choice in space.choices
        if len(choice.options) > 1
    }


def _asked(
    sampler: BaseSampler, history: History, genome: Genome, told: list[FrozenTrial]
) -> Iterator[tuple[list[int], Any]]:
    """Genes and architectures that the sampler suggests, endlessly, after it was told these trials."""
    study = optuna.create_study(directions=["minimize"] * len(history.goals), sampler=sampler)
    study.add_trials(told)
    while True:
        params = study.ask(genome).params
        genes = [params.get(choice.name, 1) for choice in history.space.choices]
        yield genes, history.space.decode(np.array(genes, dtype=np.int64))


def _eligible(history: History, earlier: Indices, population: int) -> list[int]:
    """The trials of the first fronts that together fill a population: selection looks at no other."""
    chosen: list[int] = []
    for front in non_dominated_sort(history.points[earlier]):
        if len(chosen) >= population:
            break
        chosen.extend(earlier[front].tolist())
    return sorted(chosen)


def _told(trial: ScoredTrial, values: np.ndarray, space: SearchSpace, genome: Genome) -> FrozenTrial:
    """The trial as Optuna stores it. Its active choices overrule its noted genes."""
    codes = space.encode(trial.architecture)
    noted = np.array(trial.notes.get("genes", ()), dtype=np.int64)
    if noted.shape != codes.shape:
        noted = np.ones_like(codes)
    genes = np.where(codes > 0, codes, noted)
    params = {c.name: int(gene) for c, gene in zip(space.choices, genes, strict=True) if c.name in genome}
    return create_trial(values=values.tolist(), params=params, distributions=genome)
