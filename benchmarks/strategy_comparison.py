"""Which strategy finds the front with the fewest evaluations.

    python -m benchmarks.strategy_comparison [--data FILE] [--device NAME ...] [--strategies A,B] [--seeds N] [--json]

A figure is the hypervolume of what a strategy has evaluated so far, as a share of the true front's (of
the best front known, where the space is too large to enumerate), mean over the seeds. The reference
point is the 5th percentile of the first objective and the worst of the second.

Without a file the first objective is a stand-in: a concave function of the options chosen, with a
little noise that is fixed for each architecture; the second is the network's MACs. Two more problems
have what ``mathematical_programming`` seeks as the first objective, with 0 as its reference. With
``--data``, an npz about NAS-Bench-201, trained accuracy against a device's latency is added. Its arrays:
``arch_str`` (n) published text form of each cell, ``cifar10_test_accuracy`` (n) in percent, ``devices``
(d) names, ``latency_ms`` (n, d).
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

from benchmarks.clean_stdout import clean_stdout
from nas.objectives import Goal
from nas.pareto import Points, hypervolume
from nas.strategies import STRATEGIES, ScoredTrial, make_strategy
from nas.strategies.mathematical_programming import programs_of
from search_spaces import Architecture, Classification, SearchSpace, Task, get_space

EVALUATIONS = (50, 100, 200, 300)
BATCH = 20
BASELINE = "random"
"""What every strategy is compared with, seed by seed."""
GOALS: tuple[Goal, Goal] = ("maximize", "minimize")


@dataclass(frozen=True)
class Problem:
    """Two objectives on a space. ``values`` gives them minimised; ``total`` is None where the front is unknown."""

    space: SearchSpace
    values: Callable[[Architecture], tuple[float, float]]
    reference: tuple[float, float]
    total: float | None
    task: Task | None = None


def stand_in(space_name: str, image_size: int) -> Problem:
    """Stand-in quality against MACs."""
    space = get_space(space_name)
    task = Task((3, image_size, image_size), Classification(10))
    weights = np.random.default_rng(0).uniform(0.2, 1.0, len(space.choices))
    most = np.array([max(1, len(choice.options) - 1) for choice in space.choices])

    @cache
    def values(arch: Architecture) -> tuple[float, float]:
        codes = space.encode(arch)
        gains = np.where(codes > 0, 0.3 + 0.7 * np.sqrt(np.maximum(codes - 1, 0) / most), 0.0)
        noise = int(arch.id[:8], 16) / 2**32 - 0.5
        return -float(weights @ gains / weights.sum() + 0.05 * noise), float(space.graph(arch, task).macs)

    if space.size <= 20_000:
        codes = product(*(range(1, len(choice.options) + 1) for choice in space.choices))
        members = {space.decode(np.array(code)) for code in codes}
        return _enumerated(space, values, np.array([values(arch) for arch in members]))
    rng = np.random.default_rng(0)
    sample = np.array([values(space.sample(rng)) for _ in range(2_000)])
    return Problem(space, values, _reference(sample), None)


def deepmad(space_name: str, image_size: int) -> Problem:
    """DeepMAD's entropy, 0 for a network whose effectiveness is beyond the median of the space, against MACs."""
    space = get_space(space_name)
    task = Task((3, image_size, image_size), Classification(10))
    programs = programs_of(space, task)

    def values(arch: Architecture) -> tuple[float, float]:
        found = programs.figures(arch)
        return -found.entropy if found.effectiveness <= programs.usual_effectiveness + 1e-9 else 0.0, exp(found.macs)

    rng = np.random.default_rng(0)
    sample = np.array([values(space.sample(rng)) for _ in range(2_000)])
    return Problem(space, values, (0.0, float(sample[:, 1].max())), None, task)


def tabulated(data: Path, device: str) -> Problem:
    """Trained accuracy against measured latency, from a table."""
    space = get_space("nas_bench_201")
    with np.load(data, allow_pickle=False) as table:
        column = [str(name) for name in table["devices"]].index(device)
        texts = [str(text) for text in table["arch_str"]]
        points = np.stack([-table["cifar10_test_accuracy"], table["latency_ms"][:, column]], axis=1).astype(np.float64)
    rows = {space.from_string(text): (row[0], row[1]) for text, row in zip(texts, points.tolist(), strict=True)}
    return _enumerated(space, rows.__getitem__, points)


def _reference(points: Points) -> tuple[float, float]:
    return float(np.percentile(points[:, 0], 95)), float(points[:, 1].max())


def _enumerated(space: SearchSpace, values: Callable[[Architecture], tuple[float, float]], points: Points) -> Problem:
    reference = _reference(points)
    return Problem(space, values, reference, hypervolume(points, reference))


def run(problem: Problem, strategy_name: str, seed: int) -> Points:
    """The points of one search, (evaluations, 2), in order."""
    strategy = make_strategy(
        strategy_name, space=problem.space, feasible=lambda arch: None, goals=GOALS, seed=seed, task=problem.task
    )
    points: list[tuple[float, float]] = []
    while len(points) < EVALUATIONS[-1]:
        proposals = strategy.ask(min(BATCH, EVALUATIONS[-1] - len(points)))
        found = [problem.values(proposal.architecture) for proposal in proposals]
        strategy.tell(
            [
                ScoredTrial(len(points) + i, proposal.architecture, {}, values, proposal.notes)
                for i, (proposal, values) in enumerate(zip(proposals, found, strict=True))
            ]
        )
        points.extend(found)
    return np.array(points)


def compare(problem: Problem, names: Sequence[str], seeds: int) -> dict[str, dict[str, Any]]:
    """Per strategy: the mean share at each number of evaluations, and at the last its spread over the seeds, and the
    difference to random search, seed by seed."""
    runs = {name: [run(problem, name, seed) for seed in range(seeds)] for name in dict.fromkeys([BASELINE, *names])}
    total = problem.total
    if total is None:
        total = hypervolume(np.concatenate([points for each in runs.values() for points in each]), problem.reference)
    shares = {
        name: np.array([[hypervolume(p[:k], problem.reference) / total for k in EVALUATIONS] for p in each])
        for name, each in runs.items()
    }
    return {
        name: {
            "share": {str(k): round(float(m), 4) for k, m in zip(EVALUATIONS, each.mean(axis=0), strict=True)},
            "spread": round(float(each[:, -1].std()), 4),
            "over_random": paired(each[:, -1] - shares[BASELINE][:, -1]),
        }
        for name, each in shares.items()
    }


def paired(differences: NDArray[np.float64]) -> dict[str, Any]:
    """Differences (seeds,), their mean with its 90 % interval by Student's t, and how many are above 0."""
    count = len(differences)
    mean = float(differences.mean())
    half = student.ppf(0.95, count - 1) * differences.std(ddof=1) / np.sqrt(count) if count > 1 else 0.0
    return {
        "differences": [round(float(d), 4) for d in differences],
        "mean": round(mean, 4),
        "interval": [round(float(mean - half), 4), round(float(mean + half), 4)] if count > 1 else None,
        "won": int((differences > 0).sum()),
    }


def show(results: Mapping[str, Mapping[str, Mapping[str, Any]]], seeds: int) -> None:
    console = Console()
    for problem, strategies in results.items():
        table = Table(title=f"{problem}: share of the front's hypervolume, mean of {seeds} seeds")
        table.add_column("strategy")
        for count in EVALUATIONS:
            table.add_column(str(count), justify="right")
        table.add_column("spread", justify="right")
        table.add_column("over random, 90 %", justify="right")
        table.add_column("won", justify="right")
        for name, row in strategies.items():
            over = row["over_random"]
            low_high = " to ".join(f"{end:+.3f}" for end in over["interval"] or ())
            table.add_row(
                name,
                *(f"{row['share'][str(k)]:.3f}" for k in EVALUATIONS),
                f"{row['spread']:.3f}",
                f"{over['mean']:+.3f} ({low_high})" if low_high else f"{over['mean']:+.3f}",
                f"{over['won']}/{seeds}",
            )
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Share of the front's hypervolume that each strategy finds.")
    parser.add_argument("--data", type=Path, help="npz about NAS-Bench-201; its arrays are described in this file")
    parser.add_argument("--device", action="append", help="a device of the file; may be repeated (default: its first)")
    parser.add_argument(
        "--strategies",
        type=lambda text: text.split(","),
        default=[*STRATEGIES],
        help="names with commas (default: all)",
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    if strangers := [name for name in options.strategies if name not in STRATEGIES]:
        parser.error(f"unknown strategy {strangers[0]!r}; known: {', '.join(STRATEGIES)}")
    problems = {
        "nas_bench_201, stand-in against MACs": stand_in("nas_bench_201", 32),
        "mobilenet_v2_small, stand-in against MACs": stand_in("mobilenet_v2_small", 32),
        "nas_bench_201, bounded entropy against MACs": deepmad("nas_bench_201", 32),
        "mobilenet_v2_small, bounded entropy against MACs": deepmad("mobilenet_v2_small", 32),
    }
    if options.data is not None:
        with np.load(options.data, allow_pickle=False) as table:
            known = [str(name) for name in table["devices"]]
        devices = options.device or known[:1]
        if unknown := [device for device in devices if device not in known]:
            parser.error(f"unknown device {unknown[0]!r}; known: {', '.join(known)}")
        for device in devices:
            problems[f"nas_bench_201, accuracy against latency on {device}"] = tabulated(options.data, device)
    with clean_stdout():
        results = {name: compare(problem, options.strategies, options.seeds) for name, problem in problems.items()}
    if options.json:
        Console(soft_wrap=True, highlight=False).print_json(
            json.dumps({"seeds": options.seeds, "batch": BATCH, "problems": results})
        )
    else:
        show(results, options.seeds)


if __name__ == "__main__":
    main()
