"""Regularised evolution for several objectives."""

from collections.abc import Iterator

import numpy as np

from nas.pareto import rank_by_dominance
from nas.strategies.proposals import History, Proposal
from search_spaces.architecture import Architecture

INITIAL = 20
POPULATION = 50
TOURNAMENT = 0.2


def regularized_evolution(
    history: History,
    rng: np.random.Generator,
    *,
    initial: int = INITIAL,
    population: int = POPULATION,
    tournament: float = TOURNAMENT,
    crossover: float = 0.0,
    spread: bool = False,
) -> Iterator[Proposal]:
    """Mutates the winner of a tournament among the last ``population`` trials; the first ``initial`` are random.

    ``tournament`` is the share of the population that takes part, drawn with replacement. The merit of
    a trial is its place by non-dominated rank and hypervolume contribution within the population.
    ``crossover`` is the probability that two winners are crossed before the mutation. ``spread`` crosses
    every second of the random ones with the smallest of the space: uniform draws are nearly all of middling
    cost, and the cheap end of a front would have to be reached by mutation alone.

    Source: Real et al. 2019, arXiv:1802.01548, algorithm 1; there the population is filled at random
    first, and nothing is crossed.
    """
    space = history.space
    while len(history.trials) < max(1, initial):
        yield Proposal(space.sample(rng))
        if spread:
            yield Proposal(space.crossover(space.smallest(), space.sample(rng), rng))
    recent = history.trials[-population:]
    best_first = rank_by_dominance(history.points[-population:])
    entrants = max(1, round(tournament * len(recent)))

    def winner() -> Architecture:
        # the places of members drawn at random are themselves drawn at random: the lowest one wins
        place = int(rng.integers(len(recent), size=entrants).min())
        return recent[int(best_first[place])].architecture

    while True:
        parent = winner()
        if crossover and rng.random() < crossover:
            parent = space.crossover(parent, winner(), rng)
        yield Proposal(space.mutate(parent, rng))
