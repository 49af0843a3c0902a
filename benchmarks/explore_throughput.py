"""Proposals a second through ask and tell, each with its cost and its latency, for every strategy.

    python -m benchmarks.explore_throughput [--space S] [--device D] [--proposals N] [--batch N] [--json]

One thread. A strategy is asked for ``--batch`` proposals at a time; of each the graph, its MACs, its parameters and the
latency that the device's predictor tells are worked out, and it is told with them: MACs stand in for what training
shows. The device is one of the catalogue, or of a finished profile (``--profile FILE``). Best of ``--rounds`` runs of
``--proposals`` each, in a space whose blocks were met before. ``bare``: the same without a strategy, random draws.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.clean_stdout import clean_stdout
from benchmarks.latency_accuracy import task_of
from latency_models.analytic import analytic_predictor
from latency_models.predictors import LatencyPredictor
from latency_models.profile import load_profile
from nas.objectives import Goal
from nas.strategies import STRATEGIES, ScoredTrial, make_strategy
from search_spaces import SPACES, Architecture, SearchSpace, Task, get_space
from search_spaces.errors import InvalidSpec, NasError

GOALS: tuple[Goal, ...] = ("maximize", "minimize")
LEAST = 1_000
"""Proposals a second that a strategy should reach."""

Score = Callable[[Architecture], tuple[float, float]]


def score_of(space: SearchSpace, task: Task, predictor: LatencyPredictor) -> Score:
    """An architecture's values, minimised: cost to be large, and latency."""

    def score(arch: Architecture) -> tuple[float, float]:
        graph = space.graph(arch, task)
        return -float(graph.macs + graph.params), predictor.predict(graph).value

    return score


def bare(space: SearchSpace, score: Score, proposals: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(proposals):
        score(space.sample(rng))


def explore(name: str, space: SearchSpace, score: Score, proposals: int, batch: int, seed: int) -> None:
    """One run of a strategy."""
    strategy = make_strategy(name, space=space, feasible=lambda _: None, goals=GOALS, seed=seed)
    done = 0
    while done < proposals:
        asked = strategy.ask(min(batch, proposals - done))
        strategy.tell(
            [
                ScoredTrial(done + i, each.architecture, {}, score(each.architecture), each.notes)
                for i, each in enumerate(asked)
            ]
        )
        done += len(asked)


def rates(options: argparse.Namespace, predictor: LatencyPredictor) -> dict[str, float]:
    """Proposals a second by strategy."""
    space, task = get_space(options.space), task_of(options.space)
    score = score_of(space, task, predictor)
    bare(space, score, options.proposals, seed=10**6)  # fills the memo
    runs: dict[str, Callable[[int], None]] = {"bare": lambda seed: bare(space, score, options.proposals, seed)}
    for name in options.strategies.split(","):
        runs[name] = lambda seed, name=name: explore(  # type: ignore[misc]
            name, space, score, options.proposals, options.batch, seed
        )
    found = {}
    for name, run in runs.items():
        best = float("inf")
        for seed in range(options.rounds):
            started = time.perf_counter()
            run(seed)
            best = min(best, time.perf_counter() - started)
        found[name] = round(options.proposals / best, 1)
    return found


def _predictor(options: argparse.Namespace) -> LatencyPredictor:
    if options.profile is not None:
        profile = load_profile(options.profile, hashlib.sha256(options.profile.read_bytes()).hexdigest())
        if profile.space != options.space:
            raise InvalidSpec(
                f"{options.profile} is a profile of {profile.space}", hint=f"--space {profile.space}", field="profile"
            )
        return profile.predictor()
    found = analytic_predictor(options.device)
    if found is None:
        raise InvalidSpec(f"{options.device} is no device of the catalogue", hint="see hwnas devices", field="device")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenet_v2", choices=SPACES, metavar="NAME")
    parser.add_argument("--device", default="phone_cpu", metavar="NAME", help="a device of the catalogue")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="a finished profile of the space")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), metavar="A,B")
    parser.add_argument("--proposals", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    for name in ("proposals", "batch", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: at least 1")
    for name in options.strategies.split(","):
        if name not in STRATEGIES:
            parser.error(f"--strategies {name}: known are {', '.join(STRATEGIES)}")
    try:
        with clean_stdout():
            per_second = rates(options, _predictor(options))
    except NasError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False)
        return 2
    found: dict[str, Any] = {"space": options.space, "batch": options.batch, "per_second": per_second, "least": LEAST}
    if options.json:
        print(json.dumps(found))
        return 0
    table = Table("strategy", "a second", title=f"{options.space}, {options.proposals:,} proposals, one thread")
    table.columns[1].justify = "right"
    for name, rate in per_second.items():
        table.add_row(name, f"{rate:,.0f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
