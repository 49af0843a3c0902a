"""Which networks the latency benchmark tries: spread over the range of the predicted latency, unseen by the profile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from latency_models.estimate import Estimate
from latency_models.profile import Profile
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.catalogue import get_space
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec, SpaceExhausted, UnsupportedKernel
from search_spaces.graph import Graph

DRAWS = 4000
_ENDS = 0.05  # share of the fastest and of the slowest whose neighbours are tried
_MOST_MUTATIONS = 8


class Network(NamedTuple):
    """A network that is tried."""

    architecture: Architecture
    graph: Graph
    predicted: Estimate


class Choice(NamedTuple):
    """The networks that are tried, in order of the prediction, and how many architectures they were chosen from."""

    networks: list[Network]
    drawn: int
    refused: int


def choose(profile: Profile, count: int, seed: int) -> Choice:
    """Networks evenly over the range of the predicted latency, none of which the profile timed."""
    space, predictor, rng = get_space(profile.space), profile.predictor(), np.random.default_rng(seed)
    pool: list[Network] = []
    refused = 0

    def add(archs: list[Architecture]) -> None:
        nonlocal refused
        for arch in archs:
            graph = space.graph(arch, profile.task)
            try:
                pool.append(Network(arch, graph, predictor.predict(graph)))
            except UnsupportedKernel:
                refused += 1

    def identity(index: int) -> str:
        return deploy(pool[index].graph)[0].fingerprint

    add(draw_architectures(space, rng, DRAWS))
    if not pool:
        raise InvalidSpec("the profile predicts no network of its space", hint="profile with more --minutes")
    predicted = [network.predicted.value for network in pool]
    add(beyond_the_ends(space, rng, [network.architecture for network in pool], predicted, DRAWS // 4))
    seen = {deploy(graph)[0].fingerprint for graph in timed_graphs(profile, space)}
    picks = choose_by_range([network.predicted.value for network in pool], count, identity, seen)
    return Choice([pool[i] for i in picks], len(pool) + refused, refused)


def timed_graphs(profile: Profile, space: SearchSpace) -> list[Graph]:
    """The whole networks that the profile timed."""
    return [space.graph(space.from_string(record.architecture), profile.task) for record in profile.networks]


def draw_architectures(space: SearchSpace, rng: np.random.Generator, count: int) -> list[Architecture]:
    """Distinct architectures, half of them random and half crossed with the smallest: uniform draws are nearly all
    of middling size. Fewer than ``count`` where draws repeat."""
    smallest = space.smallest()
    drawn = (space.sample(rng) for _ in range(count))
    return list(dict.fromkeys(space.crossover(smallest, a, rng) if i % 2 else a for i, a in enumerate(drawn)))


def beyond_the_ends(
    space: SearchSpace,
    rng: np.random.Generator,
    archs: Sequence[Architecture],
    predicted_ms: Sequence[float],
    count: int,
) -> list[Architecture]:
    """Distinct mutations of the fastest and of the slowest, some of which lie outside the range of what was drawn."""
    order = np.argsort(predicted_ms, kind="stable")
    share = max(1, round(_ENDS * len(archs)))
    parents = [archs[i] for i in (*order[:share], *order[-share:])]
    found: dict[Architecture, None] = {}
    for _ in range(count):
        arch = parents[rng.integers(len(parents))]
        for _ in range(rng.integers(1, _MOST_MUTATIONS + 1)):
            arch = space.mutate(arch, rng)
        found[arch] = None
    known = set(archs)
    return [arch for arch in found if arch not in known]


def choose_by_range(
    predicted_ms: Sequence[float], count: int, identity: Callable[[int], str], seen: Collection[str]
) -> list[int]:
    """Indices of ``count`` networks evenly over the logarithm of the predicted latency, in its order.

    None has an ``identity`` in ``seen``, no two have the same. Raises: SpaceExhausted where there are too few.
    """
    logs = np.log(np.asarray(predicted_ms, dtype=np.float64))
    taken = set(seen)
    left = np.ones(len(logs), dtype=bool)
    picks: list[int] = []
    for wanted in np.linspace(logs.min(), logs.max(), count):
        for index in np.argsort(np.where(left, np.abs(logs - wanted), np.inf), kind="stable"):
            if not left[index]:
                break
            left[index] = False
            if (name := identity(int(index))) not in taken:
                taken.add(name)
                picks.append(int(index))
                break
    if len(picks) < count:
        raise SpaceExhausted(
            f"only {len(picks)} of {count} networks were found that the profile has not timed",
            hint=f"--networks {len(picks)} or fewer",
        )
    return sorted(picks, key=lambda i: (logs[i], i))
