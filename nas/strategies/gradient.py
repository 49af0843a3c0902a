"""Choices by gradient descent: every choice a softmax over its options, every objective a smooth function of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Indices, rank_by_dominance
from nas.strategies.proposals import History, Proposal
from nas.surrogate import normal_scores
from search_spaces.architecture import SearchSpace

INITIAL = 20
FITTED = 300
"""Trials that the objectives are fitted on: the best half of them, and the latest others."""
RIDGE = 0.02
"""What is added to a trial's similarity to itself, which is at most 2."""
AT_ONCE = 20
"""Descents side by side, each for a trade-off of its own; a proposal comes of each."""
STEPS = 60
RATE = 0.5
CHANCE = 1.0
"""Choices of a proposal, in the mean, that are drawn with equal chances and not from the softmax."""

Floats = NDArray[np.float64]


def gradient(history: History, rng: np.random.Generator, *, initial: int = INITIAL) -> Iterator[Proposal]:
    """Architectures drawn from where descents end, each for a trade-off drawn anew; the first ``initial`` are random.

    As in FBNet the loss is an expected quality plus an expected cost times a weight. There the weights of a supernet
    give the quality, here a regression on the trials so far does. Where there are several costs, each has its weight.

    Source: Wu et al. 2019, arXiv:1812.03443, section 3; Liu et al. 2019, arXiv:1806.09055, for the relaxation.
    """
    space = history.space
    while len(history.trials) < max(2, initial):
        yield Proposal(space.sample(rng))
    relaxed = Relaxed(space)
    chosen = _best_and_latest(history)
    features = relaxed.one_hot(np.stack([space.encode(history.trials[i].architecture) for i in chosen]))
    losses = Losses(features, history.points[chosen], len(space.choices))
    while True:
        weights = rng.dirichlet(np.ones(len(history.goals)), size=AT_ONCE)
        for codes in relaxed.draw(descend(relaxed, losses, weights, rng), rng):
            yield Proposal(space.decode(codes))


class Relaxed:
    """The options of all choices in a row, of which a softmax leaves one in each choice's place."""

    def __init__(self, space: SearchSpace) -> None:
        self.counts = np.array([len(choice.options) for choice in space.choices])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self.owner = np.repeat(np.arange(len(self.counts)), self.counts)

    def one_hot(self, codes: Indices) -> Floats:
        """(n, options) of codes (n, choices); all 0 where a choice is inactive."""
        option = np.arange(len(self.owner)) - self.starts[self.owner]
        found: Floats = (codes[:, self.owner] == option + 1).astype(np.float64)
        return found

    def softmax(self, alpha: Floats) -> Floats:
        """(n, options), of sum 1 within each choice."""
        exponential = np.exp(alpha - np.maximum.reduceat(alpha, self.starts, axis=1)[:, self.owner])
        found: Floats = exponential / np.add.reduceat(exponential, self.starts, axis=1)[:, self.owner]
        return found

    def through_softmax(self, shares: Floats, slopes: Floats) -> Floats:
        """(n, options) the gradient at alpha, of that at the shares."""
        mean = np.add.reduceat(shares * slopes, self.starts, axis=1)[:, self.owner]
        found: Floats = shares * (slopes - mean)
        return found

    def draw(self, alpha: Floats, rng: np.random.Generator) -> Indices:
        """(n, choices) codes, one drawn of each softmax, or with equal chances."""
        equal = rng.random((len(alpha), len(self.counts))) < CHANCE / len(self.counts)
        lots = np.where(equal[:, self.owner], 0.0, alpha) + rng.gumbel(size=alpha.shape)
        places = [np.argmax(part, axis=1) for part in np.split(lots, self.starts[1:], axis=1)]
        found: Indices = 1 + np.stack(places, axis=1)
        return found


class Losses:
    """Every objective's normal score as a quadratic function of the options: each alone, and each two together.

    Fitted by ridge regression with the kernel s + s², where s is the share of choices that two architectures agree in.
    """

    def __init__(self, features: Floats, points: Floats, choices: int) -> None:
        self.features = features / np.sqrt(choices)
        targets = np.stack([normal_scores(column) for column in points.T], axis=1)
        same = self.features @ self.features.T
        self.coefficients = np.linalg.solve(same + same**2 + RIDGE * np.eye(len(same)), targets)
        self.scale = 1 / np.sqrt(choices)

    def values(self, shares: Floats) -> Floats:
        """(k, m) the objectives at shares (k, options)."""
        same = self.scale * shares @ self.features.T
        found: Floats = (same + same**2) @ self.coefficients
        return found

    def slopes(self, shares: Floats, weights: Floats) -> Floats:
        """(k, options) the gradient at shares (k, options) of the objectives' weighted sum, weights (k, m)."""
        each = weights @ self.coefficients.T
        found: Floats = (each * (1 + 2 * self.scale * shares @ self.features.T)) @ self.features * self.scale
        return found


def descend(relaxed: Relaxed, losses: Losses, weights: Floats, rng: np.random.Generator) -> Floats:
    """(k, options) architecture parameters, one row for each trade-off (k, m). By Adam, from nearly equal chances."""
    alpha = 0.1 * rng.standard_normal((len(weights), len(relaxed.owner)))
    mean, square = np.zeros_like(alpha), np.zeros_like(alpha)
    for step in range(1, STEPS + 1):
        shares = relaxed.softmax(alpha)
        slopes = relaxed.through_softmax(shares, losses.slopes(shares, weights))
        mean, square = 0.9 * mean + 0.1 * slopes, 0.99 * square + 0.01 * slopes**2
        alpha -= RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return alpha


def _best_and_latest(history: History) -> Indices:
    best = rank_by_dominance(history.points)[: FITTED // 2]
    latest = np.setdiff1d(np.arange(len(history.trials)), best)[-(FITTED - len(best)) :]
    return np.sort(np.concatenate([best, latest]))
