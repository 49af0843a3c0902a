"""What a profile times: which networks are drawn, which of their units alone, which networks whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latency_models.kernel_rules import KernelRules
from latency_models.kernels import Unit, families, unit_kernels, units
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.graph import Graph
from search_spaces.task import Task

DRAWS = 1500
LEAST_DRAWS = 100
_KERNELS_OF = 5  # of the kernels in every so many units some are timed alone, to divide the time of units by
_NEAR = 6  # networks of about the wanted latency, of which the one with most unseen units is taken


class Drawn(NamedTuple):
    """A network that may be timed, and its units."""

    graph: Graph
    units: tuple[Unit, ...]


def draw_networks(
    space: SearchSpace, task: Task, rules: KernelRules, seed: int, until: float, check: Callable[[], None]
) -> dict[str, Drawn]:
    """Cover, then random architectures: ``DRAWS``, or as many above ``LEAST_DRAWS`` as there is time for ``until``.

    By their text.
    """
    rng = np.random.default_rng(seed)
    smallest = space.smallest()
    drawn: dict[str, Drawn] = {}

    def draw(arch: Architecture) -> None:
        graph = space.graph(arch, task)
        drawn[space.to_string(arch)] = Drawn(graph, units(graph, rules))

    for arch in (smallest, *space.cover()):
        draw(arch)
    for number in range(DRAWS):
        if number >= LEAST_DRAWS and time.monotonic() > until:
            break
        check()
        arch = space.sample(rng)
        if number % 2:  # uniform draws are nearly all of middling size; searches look for the small ones
            arch = space.crossover(smallest, arch, rng)
        draw(arch)
    return drawn


def count_units(drawn: Mapping[str, Drawn]) -> tuple[dict[str, Unit], Counter[str]]:
    found: dict[str, Unit] = {}
    counts: Counter[str] = Counter()
    for network in drawn.values():
        for unit in network.units:
            found.setdefault(unit.key, unit)
            counts[unit.key] += 1
    return found, counts


def by_use_and_size(found: Mapping[str, Unit], counts: Counter[str], rules: KernelRules) -> list[Unit]:
    """By turns the most used unit that is left, and one from a spread over the sizes; kinds of op come first.

    Among them are kernels of some units, each a unit of its own.
    """
    used = sorted(found.values(), key=lambda u: (-counts[u.key], u.key))
    sized = sorted(found.values(), key=lambda u: (u.graph.macs, u.key))
    order = sorted(range(len(sized)), key=_bits_reversed)
    first: dict[frozenset[str], Unit] = {}
    for unit in used:
        first.setdefault(families(unit), unit)
    chosen: dict[str, Unit] = {unit.key: unit for unit in first.values()}
    for number, (often, spread) in enumerate(zip(used, (sized[i] for i in order), strict=True)):
        chosen.setdefault(often.key, often)
        chosen.setdefault(spread.key, spread)
        if number % _KERNELS_OF == 0:
            for kernel in unit_kernels(spread, rules):
                chosen.setdefault(kernel.key, kernel)
    return list(chosen.values())


def _bits_reversed(number: int) -> int:
    """Van der Corput order: any first part of it is spread evenly."""
    return int(f"{number:024b}"[::-1], 2)


def spread_networks(
    texts: Sequence[str],
    expected: Mapping[str, float],
    drawn: Mapping[str, Drawn],
    seen: set[str],
    wanted: int,
    rng: np.random.Generator,
) -> list[str]:
    """One network of each part of the range of latencies, in random order: of some the one with most unseen time."""
    logs = np.log([expected[text] for text in texts])
    offset = rng.uniform(-0.5, 0.5) / max(wanted, 1)
    left = list(range(len(texts)))
    picks: list[str] = []
    for position in np.linspace(0, 1, min(wanted, len(texts))):
        goal = logs.min() + np.clip(position + offset, 0, 1) * (logs.max() - logs.min())
        near = sorted(left, key=lambda i: abs(logs[i] - goal))[:_NEAR]
        pick = max(near, key=lambda i: sum(unit.key not in seen for unit in drawn[texts[i]].units))
        left.remove(pick)
        picks.append(texts[pick])
    return [picks[i] for i in rng.permutation(len(picks))]
