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
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, create_trial

from nas.pareto import Indices, non_dominated_sort
from nas.strategies.proposals import History, Proposal, ScoredTrial, genes_of
from search_spaces.architecture import SearchSpace

INITIAL = 20
REMEMBERED = 500
"""Trials that the tree-structured Parzen estimator learns from: the best half of them, and the latest others."""
FITTED = 120
"""Trials that Gaussian processes are fitted on, likewise: the time of a fit grows with the cube of their number."""
POOL = 128
"""Candidates of each round of ``gp``, a power of two; there are ROUNDS."""
ROUNDS = 3
MUTATIONS = 3
"""Of a candidate, at most, in the mean."""
PARENTS = 20
CHOSEN = 20
"""Of a pool, how many are proposed before another one is drawn."""
GREED = 2.0
"""The power of the expected improvement that the chance to be drawn goes by."""

Genome = dict[str, BaseDistribution]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study


def tpe(history: History, rng: np.random.Generator, *, initial: int = INITIAL) -> Iterator[Proposal]:
    """Options that are more frequent among the better trials than among the others; the first ``initial`` are random.

    Source: Ozaki et al. 2022, doi:10.1613/jair.1.13188; optuna.samplers.TPESampler.
    """
    with _experimental():
        sampler = TPESampler(n_startup_trials=initial, multivariate=True, seed=int(rng.integers(2**32)))
    genome = _genome(history.space)
    told = [
        _told(history.trials[i], history.points[i], history.space, genome)
        for i in _best_and_latest(history, REMEMBERED)
    ]
    for genes, arch in _asked(sampler, history, genome, told):
        yield Proposal(arch, {"genes": genes})


def gp(history: History, rng: np.random.Generator, *, initial: int = INITIAL) -> Iterator[Proposal]:
    """What Gaussian processes expect to add most hypervolume; the first ``initial`` are random.

    One process for each objective, fitted once an ask: proposals of one ask are spread by chance, those of more
    expected improvement being likelier, since each of them put to the model in turn would cost as much as the fit.

    Source: Emmerich et al. 2011, doi:10.1109/CEC.2011.5949880; Ament et al. 2023, arXiv:2310.20708, for its logarithm;
    optuna.samplers.GPSampler.
    """
    space = history.space
    while len(history.trials) < max(2, initial):
        yield Proposal(space.sample(rng))
    genome = _genome(space)
    told = {i: _told(history.trials[i], history.points[i], space, genome) for i in _best_and_latest(history, FITTED)}
    with _experimental():
        sampler = _Acquisition(n_startup_trials=1, seed=int(rng.integers(2**32)))
    study = optuna.create_study(directions=["minimize"] * len(history.goals), sampler=sampler)
    study.add_trials(list(told.values()))
    study.ask(genome)
    found = sampler.found
    parents = found.search_space.get_normalized_params(
        [told[i] for i in _eligible(history, np.array([*told]), PARENTS)]
    )
    while True:
        for row in _by_improvement(found, parents, rng):
            params = found.search_space.get_unnormalized_param(row)
            genes = [params.get(choice.name, 1) for choice in space.choices]
            yield Proposal(space.decode(np.array(genes, dtype=np.int64)), {"genes": genes})


class _Acquisition(GPSampler):
    """Keeps the acquisition function that the sampler makes, in place of its costly climb to one maximum of it."""

    found: Any

    def _optimize_acqf(self, acqf: Any, best_params: np.ndarray | None) -> np.ndarray:
        self.found = acqf
        only: np.ndarray = acqf.search_space.sample_normalized_params(1, self._rng.rng)[0]
        return only


def _by_improvement(acquisition: Any, parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(CHOSEN, genes) of a pool drawn without replacement, by the square of what they are expected to add.

    The pool: crosses and mutants of ``parents`` (n, genes), then those of its best, and random draws.
    """
    pool, log_improvement = np.empty((0, parents.shape[1])), np.empty(0)
    for _ in range(ROUNDS):
        some = acquisition.search_space.sample_normalized_params(POOL, np.random.RandomState(int(rng.integers(2**32))))
        one, other = parents[rng.integers(len(parents), size=(2, POOL))]
        children = np.where(rng.random(some.shape) < 0.5 * rng.integers(2, size=(POOL, 1)), other, one)
        rate = rng.integers(1, MUTATIONS + 1, size=(POOL, 1)) / some.shape[1]
        children = np.where(rng.random(some.shape) < rate, some, children)
        pool = np.vstack([pool, children, some[: POOL // 4]])
        found = acquisition.eval_acqf_no_grad(pool[len(log_improvement) :])
        pool, first = np.unique(pool, axis=0, return_index=True)
        log_improvement = np.append(log_improvement, found)[first]
        parents = pool[np.argsort(-log_improvement, kind="stable")[:PARENTS]]
    # the Gumbel trick: the largest of these sums are a draw without replacement
    lots = GREED * log_improvement + rng.gumbel(size=len(pool))
    chosen: np.ndarray = pool[np.argsort(-lots, kind="stable")[:CHOSEN]]
    return chosen


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


def _best_and_latest(history: History, count: int) -> list[int]:
    """In order: half of ``count`` from the first fronts, the others the latest."""
    best = _eligible(history, np.arange(len(history.trials)), count // 2)[: count // 2]
    latest = [i for i in range(len(history.trials)) if i not in set(best)][-(count - len(best)) :]
    return sorted([*best, *latest])


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
    params = {
        c.name: int(gene) for c, gene in zip(space.choices, genes_of(trial, space), strict=True) if c.name in genome
    }
    return create_trial(values=values.tolist(), params=params, distributions=genome)
