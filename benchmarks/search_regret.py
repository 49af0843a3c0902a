"""How complete a front is after so many trainings, for the default of a search and for general optimisers.

    python -m benchmarks.search_regret --data FILE [--accuracy ARRAY] [--device A,B] [--trainings 25,50,100,200]
        [--seeds N] [--json]

``--data``: an npz about NAS-Bench-201. Arrays read: ``arch_str`` (n) published text of each cell, the one that
``--accuracy`` names (n) in percent, ``devices`` (d) names, ``latency_ms`` (n, d). A network is a row. Its latency is
known; its accuracy is read when it is trained, which happens once: an optimiser that asks for it again pays nothing.

A figure is the hypervolume of what has been trained, as a share of that of the whole table; the reference point is the
5th percentile of the accuracy and the worst latency. Means over the seeds, and over the devices where several are
named. ``oracle``: chosen greedily with all accuracies known.

``default`` does as a search does: it scores one half of ``--scored`` networks, here the first of a random order that
the seed gives, by the shipped score on the real networks (values are kept in ``--cache``); it trains those that
``nas.learning`` chooses, and scores the other half wave by wave, what ``nas.learning`` chooses of all rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.cell_options import add_table_options, check_table_options, counts, names
from benchmarks.cell_values import Values, ValueStore, features_of, values_of
from nas.learning import Pool, next_to_score, next_trainings, scored_before, those_that_rank, wave_size
from nas.pareto import hypervolume, non_dominated
from nas.scores import SCORES, aggregate, default_score
from nas.surrogate import Lesson

Floats = NDArray[np.float64]

MOST_ASKS = 10
"""How often, for each training of the budget, an optimiser may ask for what was trained before."""
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = 6
POPULATION = 20


class Problem(NamedTuple):
    """The table's rows: architectures as text, points (n, 2) to minimise, and the reference point."""

    texts: tuple[str, ...]
    points: Floats
    reference: Floats

    @property
    def total(self) -> float:
        return hypervolume(self.points, self.reference)


class Run(NamedTuple):
    """What one process needs to know to carry out a run."""

    data: Path
    accuracy: str
    device: str
    strategy: str
    seed: int
    budget: int
    scored: int
    cache: Path


@lru_cache(maxsize=8)
def problem_of(data: Path, accuracy: str, device: str) -> Problem:
    """The problem of a device. Raises: SystemExit for a device that the file has not."""
    with np.load(data, allow_pickle=False) as table:
        devices = [str(name) for name in table["devices"]]
        if device not in devices:
            raise SystemExit(f"--device {device}: the file has {', '.join(devices)}")
        latency = table["latency_ms"][:, devices.index(device)].astype(np.float64)
        points = np.stack([-table[accuracy].astype(np.float64), latency], axis=1)
        texts = tuple(str(text) for text in table["arch_str"])
    return Problem(texts, points, np.array([np.percentile(points[:, 0], 95), points[:, 1].max()]))


def stream(count: int, seed: int) -> NDArray[np.int64]:
    """The order in which rows are scored."""
    return np.random.default_rng(seed).permutation(count)


def default_rows(run: Run, problem: Problem, train: Callable[[int], float]) -> None:
    """What the default of a search trains."""
    store, proxies = ValueStore(run.cache, 0), SCORES["default"].proxies
    costs = problem.points[:, 1:]
    scored = stream(len(problem.texts), run.seed)[: scored_before(0, run.scored, run.budget)].tolist()
    trained: list[int] = []
    accuracy: list[float] = []
    while len(trained) < run.budget:
        missing = scored_before(len(trained), run.scored, run.budget) - len(scored)
        if missing > 0:
            score = np.full(len(problem.texts), np.nan)
            score[scored] = default_score(_values(problem, scored, proxies, store))
            whole = Pool(_forms(problem.texts), score, costs)
            scored += next_to_score(whole, [Lesson(trained, accuracy)], missing)
        values = _values(problem, scored, proxies, store)
        known = [scored.index(row) for row in trained]
        kept = those_that_rank(proxies, [values[i] for i in known], accuracy)
        features = features_of([problem.texts[row] for row in scored], values, kept)
        pool = Pool(features, aggregate(kept, values), costs[scored])
        wave = min(wave_size(len(trained)), run.budget - len(trained))
        picks = [scored[i] for i in next_trainings(pool, [Lesson(known, accuracy)], wave)]
        if not picks:
            return
        trained += picks
        accuracy += [train(row) for row in picks]


def _values(problem: Problem, rows: Sequence[int], proxies: tuple[str, ...], store: ValueStore) -> list[Values]:
    return values_of([problem.texts[row] for row in rows], proxies, store)


@lru_cache(maxsize=1)
def _forms(texts: tuple[str, ...]) -> tuple[Floats, ...]:
    """What is known of networks that are not scored."""
    return features_of(texts, [{}] * len(texts), ())


def random_rows(run: Run, problem: Problem, train: Callable[[int], float]) -> None:
    """Rows in random order."""
    for row in islice(stream(len(problem.texts), run.seed), run.budget):
        train(int(row))


def optuna_rows(sampler: Callable[[int], Any]) -> Callable[[Run, Problem, Callable[[int], float]], None]:
    def rows(run: Run, problem: Problem, train: Callable[[int], float]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler(run.seed))
        index = {text: row for row, text in enumerate(problem.texts)}
        for _ in range(MOST_ASKS * run.budget):
            trial = study.ask()
            row = index[cell_text([trial.suggest_categorical(f"edge{i}", OPERATIONS) for i in range(EDGES)])]
            train(row)
            study.tell(trial, problem.points[row].tolist())

    return rows


def _nsga2(seed: int) -> Any:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=POPULATION, seed=seed)


def _tpe(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed)


def pymoo_rows(run: Run, problem: Problem, train: Callable[[int], float]) -> None:
    """pymoo's NSGA-II on whole numbers, with its own elimination of duplicates."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as PymooProblem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    index = {text: row for row, text in enumerate(problem.texts)}

    class Cells(PymooProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=EDGES, n_obj=2, xl=0, xu=len(OPERATIONS) - 1, vtype=int)

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            rows = [index[cell_text([OPERATIONS[int(i)] for i in each])] for each in x]
            for row in rows:
                train(row)
            out["F"] = problem.points[rows]

    algorithm = NSGA2(
        pop_size=POPULATION, sampling=IntegerRandomSampling(), eliminate_duplicates=True,
        crossover=SBX(vtype=float, repair=RoundingRepair()), mutation=PM(vtype=float, repair=RoundingRepair()),
    )  # fmt: skip
    minimize(Cells(), algorithm, ("n_eval", MOST_ASKS * run.budget), seed=run.seed)


def cell_text(operations: Sequence[str]) -> str:
    """The published text of a cell, its operations in the order of the text."""
    first, second, third = operations[:1], operations[1:3], operations[3:]
    return "+".join("|" + "".join(f"{op}~{i}|" for i, op in enumerate(node)) for node in (first, second, third))


STRATEGIES: Mapping[str, Callable[[Run, Problem, Callable[[int], float]], None]] = {
    "default": default_rows,
    "random": random_rows,
    "optuna_nsga2": optuna_rows(_nsga2),
    "optuna_tpe": optuna_rows(_tpe),
    "pymoo_nsga2": pymoo_rows,
}


class _Spent(Exception):
    """The budget of trainings is used up."""


def trained_rows(run: Run) -> list[int]:
    """The rows that a strategy trains, in order."""
    problem = problem_of(run.data, run.accuracy, run.device)
    trained: dict[int, float] = {}

    def train(row: int) -> float:
        if row not in trained:
            if len(trained) >= run.budget:
                raise _Spent
            trained[row] = float(-problem.points[row, 0])
        return trained[row]

    with suppress(_Spent):
        STRATEGIES[run.strategy](run, problem, train)
    return list(trained)


def oracle_rows(problem: Problem) -> Iterator[int]:
    """Rows of the true front, each time the one that adds most."""
    left = np.flatnonzero(non_dominated(problem.points) & (problem.points < problem.reference).all(axis=1)).tolist()
    chosen: list[int] = []
    while left:
        best = max(left, key=lambda row: hypervolume(problem.points[[*chosen, row]], problem.reference))
        left.remove(best)
        chosen.append(best)
        yield best


def shares(problem: Problem, rows: Sequence[int], trainings: Sequence[int]) -> list[float]:
    """The share of the whole hypervolume after so many trainings."""
    total = problem.total
    return [hypervolume(problem.points[list(rows[:count])], problem.reference) / total for count in trainings]


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every run, and their means."""
    budget = max(options.trainings)
    if "default" in options.strategies:
        _score(options, console)
    runs = [
        Run(options.data, options.accuracy, device, strategy, seed, budget, options.scored, options.cache)
        for device in options.device
        for strategy in options.strategies
        for seed in range(options.seeds)
    ]
    found: dict[str, list[list[float]]] = {name: [] for name in options.strategies}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("runs", total=len(runs))
        for run, rows in zip(runs, _carried_out(runs, options.workers), strict=True):
            problem = problem_of(run.data, run.accuracy, run.device)
            found[run.strategy].append(shares(problem, rows, options.trainings))
            progress.advance(bar)
    table: dict[str, Any] = {
        name: dict(zip(map(str, options.trainings), np.mean(rows, axis=0).tolist(), strict=True))
        for name, rows in found.items()
    }
    table["oracle"] = {"trainings_for_0.99": float(np.mean([_oracle_needs(options, d) for d in options.device]))}
    return table


def _oracle_needs(options: argparse.Namespace, device: str) -> int:
    problem = problem_of(options.data, options.accuracy, device)
    rows = list(oracle_rows(problem))
    each = shares(problem, rows, range(1, len(rows) + 1))
    return next(count for count, share in enumerate(each, 1) if share >= 0.99)


def _score(options: argparse.Namespace, console: Console) -> None:
    """The proxies of every network that the runs will score at first."""
    texts = problem_of(options.data, options.accuracy, options.device[0]).texts
    first = scored_before(0, options.scored, max(options.trainings))
    rows = np.unique(np.concatenate([stream(len(texts), s)[:first] for s in range(options.seeds)]))
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("scoring")
        values_of(
            [texts[row] for row in rows], SCORES["default"].proxies, ValueStore(options.cache, 0),
            workers=options.workers, tell=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip


def _carried_out(runs: Sequence[Run], workers: int) -> Iterator[list[int]]:
    if workers <= 1:
        yield from map(trained_rows, runs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(trained_rows, runs)


def show(found: Mapping[str, Any], options: argparse.Namespace) -> None:
    console = Console()
    devices = ", ".join(options.device)
    table = Table(title=f"NAS-Bench-201, {options.accuracy} against latency on {devices}, {options.seeds} seeds")
    table.add_column("strategy")
    for count in options.trainings:
        table.add_column(f"{count} trainings", justify="right")
    for name in options.strategies:
        table.add_row(name, *[f"{share:.4f}" for share in found[name].values()])
    console.print(table)
    console.print(f"an oracle needs {found['oracle']['trainings_for_0.99']:g} trainings for .99", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    parser.add_argument("--device", default="pixel3,silver_4114,samsung_a50,titanxp_1", metavar="A,B")
    parser.add_argument("--trainings", default="25,50,100,200", metavar="N,M")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), metavar="A,B", help=", ".join(STRATEGIES))
    parser.add_argument("--scored", type=int, default=1000, help="networks that the default scores")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    options.device = names(parser, "device", options.device)
    options.strategies = names(parser, "strategy", options.strategies, STRATEGIES)
    options.trainings = counts(parser, "--trainings", options.trainings, 1) or parser.error("--trainings: at least one")
    check_table_options(parser, options, scored=20, seeds=1)
    found = measure(options, Console(stderr=True))
    if options.json:
        print(json.dumps(found, allow_nan=False))
    else:
        show(found, options)


if __name__ == "__main__":
    main()
