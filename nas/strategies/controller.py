"""A recurrent controller: a small network that emits one choice after another, and is rewarded for what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.pareto import rank_by_dominance
from nas.strategies.gradient import Losses, Relaxed
from nas.strategies.proposals import History, Proposal
from search_spaces.architecture import Architecture, SearchSpace

INITIAL = 20
REMEMBERED = 300
"""The latest trials, from which the controller learns."""
TRIALS_AN_UPDATE = 5
"""Of those remembered, how many there are for each update of the weights."""
IMAGINED = 400
"""Networks that were not scored, beside those that were: crosses and mutants of the PARENTS best."""
PARENTS = 50
BATCH = 64
"""Pairs of a trial and a trade-off in an update."""
AT_ONCE = 20
"""Proposals that are emitted together, each with a trade-off of its own."""
HIDDEN = 32
RATE = 0.03
TEMPERATURE = 0.2
"""Of the reward, in its standard deviations, at which trials are imitated."""
BESIDES = 0.2
"""What the mean of all ranks counts in a reward."""
ENTROPY = 0.02
"""What a nat of entropy counts beside the likelihood of what is imitated."""

Floats = NDArray[np.float64]


def controller(history: History, rng: np.random.Generator, *, initial: int = INITIAL) -> Iterator[Proposal]:
    """Architectures that the controller emits, each for a trade-off drawn anew; the first ``initial`` are random.

    The controller is made anew at every ask: its weights follow from the history alone. The reward is that of a
    trade-off between the objectives (``rewards``), which the network gets as an input, so that one controller covers
    the whole front. REINFORCE would need proposals of its own at every update: here those of others are imitated, the
    likelier the more they were rewarded, which is the policy gradient of exponentiated advantages (Peng et al. 2019,
    arXiv:1910.00177). Beside the trials they are networks whose objectives a regression on the trials foretells, as in
    Angermueller et al. 2020 (ICLR, "Model-based reinforcement learning for biological sequence design"): of the trials
    alone a few hundred do not teach it enough.

    Source: Zoph and Le 2017, arXiv:1611.01578, section 3; the trade-off after Tan et al. 2019, arXiv:1807.11626,
    equation 2, where it is fixed.
    """
    space = history.space
    while len(history.trials) < max(2, initial):
        yield Proposal(space.sample(rng))
    network = trained(history)
    while True:
        weights = rng.dirichlet(np.ones(len(history.goals)), size=AT_ONCE)
        for codes in network.emit(weights, rng):
            yield Proposal(space.decode(codes))


def shares_below(points: Floats) -> Floats:
    """(n, m) of each objective of the points (n, m): the share of the others that have less."""
    below: Floats = np.array([np.searchsorted(np.sort(column), column) for column in points.T]).T
    return below / max(1, len(points) - 1)


def rewards(ranks: Floats, weights: Floats) -> Floats:
    """(trade-offs, trials), mean 0 and deviation 1: how little a trial (n, m) has of what each trade-off (k, m) minds.

    The largest weighted rank among the objectives decides (Chebyshev), so that no part of a front is out of reach; the
    mean of all ranks counts BESIDES as much, so that what is free of charge is taken along.
    """
    worst = (weights[:, None] * ranks[None]).max(axis=2) + BESIDES * ranks.mean(axis=1)
    found: Floats = (worst.mean(axis=1, keepdims=True) - worst) / np.maximum(worst.std(axis=1, keepdims=True), 1e-9)
    return found


class Controller(nn.Module):
    """An LSTM over the choices. Its input is the option chosen last and the trade-off, its output one of options."""

    def __init__(self, space: SearchSpace, objectives: int) -> None:
        super().__init__()
        self.counts = [len(choice.options) for choice in space.choices]
        self.offsets = torch.tensor(np.cumsum([0, *(count + 1 for count in self.counts)]))
        self.embedding = nn.Embedding(int(self.offsets[-1]) + 1, HIDDEN)
        self.preference = nn.Linear(objectives, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.heads = nn.Parameter(torch.zeros(len(self.counts), HIDDEN, max(self.counts)))
        self.biases = nn.Parameter(torch.zeros(len(self.counts), max(self.counts)))
        options = torch.arange(max(self.counts))
        self.beyond = options[None] >= torch.tensor(self.counts)[:, None]

    def log_likelihood(self, codes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) of the active choices of codes (n, choices) at trade-offs (n, objectives), and the entropy (n,)."""
        start = self.offsets[-1].expand(len(codes), 1)
        before = torch.cat([start, codes[:, :-1] + self.offsets[:-2]], dim=1)
        states, _ = self.lstm(self.embedding(before) + self.preference(weights)[:, None])
        logits = torch.einsum("nch,cho->nco", states, self.heads) + self.biases
        log = torch.log_softmax(logits.masked_fill(self.beyond, -1e9), dim=2)
        active = codes > 0
        chosen = log.gather(2, (codes - 1).clamp(min=0)[..., None])[..., 0]
        entropy = -(log.exp() * log).sum(dim=2)
        return (chosen * active).sum(dim=1), (entropy * active).sum(dim=1)

    @torch.no_grad()
    def emit(self, weights: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n, choices) codes, for trade-offs (n, objectives)."""
        preference = self.preference(torch.tensor(weights, dtype=torch.float32))
        last = self.offsets[-1].expand(len(weights))
        state = None
        codes = np.ones((len(weights), len(self.counts)), dtype=np.int64)
        for place, count in enumerate(self.counts):
            output, state = self.lstm((self.embedding(last) + preference)[:, None], state)
            logits = (output[:, 0] @ self.heads[place] + self.biases[place])[:, :count].double().numpy()
            codes[:, place] = 1 + np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
            last = torch.from_numpy(codes[:, place]) + self.offsets[place]
        return codes


def trained(history: History) -> Controller:
    """The controller that the latest trials make of fixed first weights. Deterministic."""
    space, count = history.space, len(history.goals)
    rng = np.random.default_rng(len(history.trials))
    recent, points = history.trials[-REMEMBERED:], history.points[-REMEMBERED:]
    parents = [recent[int(i)].architecture for i in rank_by_dominance(points)[:PARENTS]]
    archs = [trial.architecture for trial in recent] + [_child(space, parents, rng) for _ in range(IMAGINED)]
    codes = np.stack([space.encode(arch) for arch in archs])
    relaxed = Relaxed(space)
    features = relaxed.one_hot(codes)
    ranks = shares_below(Losses(features[: len(recent)], points, len(space.choices)).values(features))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Controller(space, count)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(-(-len(recent) // TRIALS_AN_UPDATE)):
        weights = rng.dirichlet(np.ones(count), size=BATCH)
        merit = np.exp((rewards(ranks, weights) / TEMPERATURE).clip(-50, 50))
        shares = np.cumsum(merit / merit.sum(axis=1, keepdims=True), axis=1)
        picks = (shares < rng.random((BATCH, 1))).sum(axis=1).clip(max=len(codes) - 1)
        likelihood, entropy = network.log_likelihood(
            torch.tensor(codes[picks]), torch.tensor(weights, dtype=torch.float32)
        )
        loss = -(likelihood + ENTROPY * entropy).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def _child(space: SearchSpace, parents: Sequence[Architecture], rng: np.random.Generator) -> Architecture:
    one, other = rng.integers(len(parents), size=2)
    return space.mutate(space.crossover(parents[one], parents[other], rng), rng)
