"""Local search from every point of the front."""

from collections.abc import Iterator

import numpy as np

from nas.pareto import crowding_distance, non_dominated
from nas.strategies.proposals import History, Proposal

INITIAL = 20


def local_search(history: History, rng: np.random.Generator, *, initial: int = INITIAL) -> Iterator[Proposal]:
    """A random neighbour of a network of the front; the first ``initial`` are random.

    Of two networks of the front the one with more room around it (crowding distance) is taken, so that the search goes
    on where the front is thin, and beyond its ends.

    Source: White et al. 2021, arXiv:2005.02960, algorithm 1, with the front in place of the best network.
    """
    space = history.space
    while len(history.trials) < max(1, initial):
        yield Proposal(space.sample(rng))
    front = np.flatnonzero(non_dominated(history.points))
    room = crowding_distance(history.points[front])
    while True:
        pair = rng.integers(len(front), size=2)
        taken = front[pair[int(room[pair].argmax())]]
        yield Proposal(space.mutate(history.trials[int(taken)].architecture, rng))
