"""Spaces, made-up objectives and whole searches for tests of strategies."""

import json
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nas.strategies import Proposal, ScoredTrial, Strategy, make_strategy
from search_spaces import Architecture, Classification, SearchSpace, Task, get_space
from search_spaces.staged import Stage, StagedSpace

TASK = Task((3, 16, 16), Classification(10))
GOALS = ("maximize", "minimize")


@cache
def tiny() -> SearchSpace:
    """One to three layers with a choice of two kernels each: 2 + 4 + 8 architectures."""
    layer = {"kernel": (3, 5), "activation": ("relu",)}
    return StagedSpace("tiny", [Stage("stage1", "conv_bn_act", 8, depth=(1, 2, 3), options=layer)])


SPACES: dict[str, Callable[[], SearchSpace]] = {
    "mobilenet_v2_small": lambda: get_space("mobilenet_v2_small"),
    "nas_bench_201": lambda: get_space("nas_bench_201"),
}


def anything(arch: Architecture) -> str | None:
    return None


def values(space: SearchSpace, arch: Architecture) -> tuple[float, float]:
    """A made-up quality, to be minimised, against a made-up cost: both from the codes alone."""
    codes = space.encode(arch)
    return -float(np.sqrt(codes).sum()), float((codes * (1 + np.arange(len(codes)) % 3)).sum())


def params_bound(space: SearchSpace, most: float) -> Callable[[Architecture], str | None]:
    return lambda arch: None if space.graph(arch, TASK).params <= most else f"params <= {most:g}"


def make(name: str, space: SearchSpace, seed: int = 0, feasible=anything, **options) -> Strategy:
    return make_strategy(name, space=space, feasible=feasible, goals=GOALS, seed=seed, **options)


def scored(space: SearchSpace, proposals: Sequence[Proposal], first: int) -> list[ScoredTrial]:
    """Trials of the proposals; their notes go through JSON, as a database would have it."""
    return [
        ScoredTrial(first + i, p.architecture, {}, values(space, p.architecture), json.loads(json.dumps(dict(p.notes))))
        for i, p in enumerate(proposals)
    ]


def live(strategy: Strategy, space: SearchSpace, budget: int, batch: int) -> list[list[ScoredTrial]]:
    """The batches of a search, as it goes."""
    batches: list[list[ScoredTrial]] = []
    count = 0
    while count < budget:
        trials = scored(space, strategy.ask(min(batch, budget - count)), count)
        strategy.tell(trials)
        batches.append(trials)
        count += len(trials)
    return batches


def architectures(batches: Sequence[Sequence[ScoredTrial]]) -> list[Architecture]:
    return [trial.architecture for batch in batches for trial in batch]
