"""Random search: the baseline that every strategy must beat."""

from collections.abc import Iterator

import numpy as np

from nas.strategies.proposals import History, Proposal


def random_search(history: History, rng: np.random.Generator) -> Iterator[Proposal]:
    """Draws from the space, whatever the history. Source: Li and Talwalkar 2019, arXiv:1902.07638."""
    while True:
        yield Proposal(history.space.sample(rng))
