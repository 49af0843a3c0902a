"""NSGA-II by Optuna's sampler, rebuilt from the history at every ask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from nas.pareto import Indices, non_dominated_sort
from nas.strategies.proposals import History, Proposal, ScoredTrial
from search_spaces.architecture import SearchSpace

POPULATION = 20
_GENERATION = "NSGAIISampler:generation"

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study


def nsga2(history: History, rng: np.random.Generator, *, population: int = POPULATION) -> Iterator[Proposal]:
    """Children of the elite of all complete generations, by tournament, uniform crossover and mutation.

    The elite is chosen anew from all earlier generations at every ask, since scores are ranks that
    move as trials come. A trial's notes hold its generation, and its genes: the option of every choice,
    inactive ones too, which descendants may activate.

    Source: Deb et al. 2002; optuna.samplers.NSGAIISampler.
    """
    space = history.space
    genome: dict[str, BaseDistribution] = {
        choice.name: CategoricalDistribution(range(1, len(choice.options) + 1))
        for choice in space.choices
        if len(choice.options) > 1
    }
    generations = np.array([int(trial.notes.get("generation", 0)) for trial in history.trials], dtype=np.int64)
    current = int(generations.max(initial=0))
    if np.count_nonzero(generations == current) >= population:
        current += 1
    sampler = optuna.samplers.NSGAIISampler(population_size=population, seed=int(rng.integers(2**32)))
    study = optuna.create_study(directions=["minimize"] * len(history.goals), sampler=sampler)
    if current:
        earlier = np.flatnonzero(generations < current)
        for index in _eligible(history, earlier, population):
            study.add_trial(_parent(history.trials[index], history.points[index], space, genome))
    while True:
        params = study.ask(genome).params
        genes = [params.get(choice.name, 1) for choice in space.choices]
        arch = space.decode(np.array(genes, dtype=np.int64))
        yield Proposal(arch, {"generation": current, "genes": genes})


def _eligible(history: History, earlier: Indices, population: int) -> list[int]:
    """The trials of the first fronts that together fill a population: selection looks at no other."""
    chosen: list[int] = []
    for front in non_dominated_sort(history.points[earlier]):
        if len(chosen) >= population:
            break
        chosen.extend(earlier[front].tolist())
    return sorted(chosen)


def _parent(
    trial: ScoredTrial, values: np.ndarray, space: SearchSpace, genome: dict[str, BaseDistribution]
) -> FrozenTrial:
    """The trial as Optuna stores it, of the generation before. Its active choices overrule its noted genes."""
    codes = space.encode(trial.architecture)
    noted = np.array(trial.notes.get("genes", ()), dtype=np.int64)
    if noted.shape != codes.shape:
        noted = np.ones_like(codes)
    genes = np.where(codes > 0, codes, noted)
    params = {c.name: int(gene) for c, gene in zip(space.choices, genes, strict=True) if c.name in genome}
    return create_trial(
        values=values.tolist(), params=params, distributions=genome, system_attrs={_GENERATION: 0}
    )  # fmt: skip
