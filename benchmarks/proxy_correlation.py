"""How well zero-shot scores rank networks by trained accuracy.

    python -m benchmarks.proxy_correlation --data FILE [--accuracy ARRAY] [--architectures N] [--seed S] [--json]

``--data``: an npz about NAS-Bench-201. Arrays read: ``arch_str`` (n) published text of each cell, ``all_ops_reachable``
(n), and the one that ``--accuracy`` names (n), in percent. A random sample of the architectures is scored without any
label; then the accuracy is read, and each score's ranking compared with it on the whole sample and on the part whose
operations are all reachable. ``params``, ``macs`` and ``az_nas`` are those of the networks as published; ``_pruned``
is without the operations that no path reaches, as ``default_score`` and every other score sees them.

tau: Kendall's tau-b. rho: Spearman's. ndcg: gains 2^accuracy - 1, discounted by log2(1 + place), over the first 10 %.
top1_regret: percentage points between the most accurate network and the one ranked first. ms: median of one network's
time, one thread. ``differences``: tau of ``default_score`` minus another's, with a paired bootstrap interval of 95 %.

``--smallest 0.25``: only the quarter of the sample that has the fewest MACs without unreachable operations, scored and
ranked among itself: what a search under a bound of size sees.

``--labels 32,100``: also what ``nas.surrogate`` makes of the default score's proxies, the form of the networks, and the
accuracy of so many other networks, on the same sample (``surrogate_32``); ``ms`` is that of the proxies.

Values are kept in ``--cache``; an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from scipy.stats import kendalltau

from benchmarks.cell_options import add_table_options, check_table_options, counts, names
from benchmarks.cell_values import Values, ValueStore, compute, features_of, graph_of, values_of
from latency_models.report import spearman
from nas.scores import SCORES, default_score, score_values
from nas.surrogate import LEAST, predict_pool

Floats = NDArray[np.float64]

PUBLISHED = ("params", "macs", "az_nas")
"""Scored on networks as published, unreachable operations included."""
CHEAP = (
    "params", "macs", "depth", "naswot", "synflow", "snip", "grad_norm", "jacov", "intrain", "az_nas",
)  # fmt: skip
TIMED = 12
TOP = 0.1
GOALS = {"all": 0.79, "reachable": 0.77}


class Scored(NamedTuple):
    """A row of the table: the proxies of every network, and what makes one figure of them."""

    values: list[Values]
    rank: Callable[[Sequence[Values]], Floats]
    ms: float


def rows_of(options: argparse.Namespace, cells: list[str], console: Console) -> dict[str, Scored]:
    """Every row of the table, by name; reads no accuracy."""
    store = ValueStore(options.cache, options.seed)
    wanted = list(dict.fromkeys([*options.scores, "default"]))
    rows: dict[str, Scored] = {}
    sample = [cells[i] for i in np.linspace(0, len(cells) - 1, min(TIMED, len(cells) // 4)).astype(int)]
    for pruned in (False, True):
        names = [name for name in wanted if pruned or name in PUBLISHED]
        proxies = tuple(dict.fromkeys(proxy for name in names for proxy in SCORES[name].proxies))
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(f"scoring {'pruned' if pruned else 'published'} networks")
            tell = partial(_tell, progress, bar)
            values = values_of(cells, proxies, store, pruned=pruned, workers=options.workers, tell=tell)
        for name in names:
            label = "default_score" if name == "default" else f"{name}_pruned" if pruned and name in PUBLISHED else name
            rank = default_score if name == "default" else _ranking(name)
            rows[label] = Scored(values, rank, timed_ms(sample, SCORES[name].proxies, pruned))
    return rows


def _tell(progress: Progress, bar: TaskID, done: int, total: int) -> None:
    progress.update(bar, completed=done, total=total)


def _ranking(name: str) -> Callable[[Sequence[Values]], Floats]:
    return lambda values: score_values(name, values)


def timed_ms(cells: Sequence[str], proxies: tuple[str, ...], pruned: bool) -> float:
    """The median time of the proxies of one network, milliseconds, graph building included."""
    took = []
    for cell in cells:
        started = time.perf_counter()
        compute((graph_of(cell, pruned).fingerprint, cell, pruned, proxies, 0))
        took.append(1e3 * (time.perf_counter() - started))
    return float(np.median(took))


def figures(scores: Floats, accuracy: Floats) -> dict[str, float]:
    """What a ranking of two networks or more is worth. ``accuracy`` in percent."""
    order = np.argsort(-scores, kind="stable")
    return {
        "tau": tau_of(scores, accuracy),
        "rho": spearman(scores, accuracy),
        "ndcg": _gain(accuracy[order]) / _gain(np.sort(accuracy)[::-1]),
        "top1_regret": float(accuracy.max() - accuracy[order[0]]),
    }


def tau_of(scores: Floats, accuracy: Floats) -> float:
    """Kendall's tau-b; 0 where one side does not vary."""
    if np.ptp(scores) == 0 or np.ptp(accuracy) == 0:
        return 0.0
    return float(kendalltau(scores, accuracy).statistic)


def _gain(accuracy: Floats) -> float:
    first = accuracy[: max(1, round(TOP * len(accuracy)))] / 100
    return float(((2**first - 1) / np.log2(np.arange(len(first)) + 2)).sum())


def interval(
    statistic: Callable[[NDArray[np.int64]], float], count: int, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a statistic of resampled networks."""
    found = [statistic(rng.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def table_of(rows: Mapping[str, Scored], accuracy: Floats, part: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """The figures of every row on a part of the sample; scores are ranks within the part."""
    chosen = np.flatnonzero(part)
    return {
        name: figures(row.rank([row.values[i] for i in chosen]), accuracy[chosen]) | {"ms": row.ms}
        for name, row in rows.items()
    }


def differences(
    rows: Mapping[str, Scored], accuracy: Floats, part: NDArray[np.bool_], resamples: int, rng: np.random.Generator
) -> dict[str, Any]:
    """tau of ``default_score``, and how much it is above that of the other ensembles, with intervals."""
    chosen = np.flatnonzero(part)
    scores = {name: row.rank([row.values[i] for i in chosen]) for name, row in rows.items()}
    true = accuracy[chosen]

    def tau(name: str, picks: NDArray[np.int64]) -> float:
        return tau_of(scores[name][picks], true[picks])

    every = np.arange(len(chosen))
    found: dict[str, Any] = {}
    own = interval(lambda picks: tau("default_score", picks), len(chosen), resamples, rng)
    found["default_score"] = {"tau": tau("default_score", every), "interval_95": own}
    for name in [name for name in rows if name.startswith(("az_nas", "vkdnw_agg"))]:
        between = interval(
            lambda picks, to=name: tau("default_score", picks) - tau(to, picks), len(chosen), resamples, rng
        )
        found[f"minus_{name}"] = {"tau": tau("default_score", every) - tau(name, every), "interval_95": between}
    return found


def surrogate_scores(
    options: argparse.Namespace, cells: list[str], labels: Floats, console: Console
) -> dict[str, Floats]:
    """What the surrogate predicts of the first cells, from the labels of so many of the others, by name of the row."""
    proxies, tested = SCORES["default"].proxies, len(cells) - len(labels)
    with Progress(console=console, transient=True) as progress:
        tell = partial(_tell, progress, progress.add_task("scoring networks with a label"))
        values = values_of(cells, proxies, ValueStore(options.cache, options.seed), workers=options.workers, tell=tell)
    features = features_of(cells, values, proxies)
    found = {}
    for count in options.labels:
        trained = np.arange(tested, tested + count)
        found[f"surrogate_{count}"] = predict_pool(features, trained, labels[:count]).mean
    return {name: mean[:tested] for name, mean in found.items()}


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The whole run."""
    with np.load(options.data, allow_pickle=False) as table:
        texts, reachable = table["arch_str"], table["all_ops_reachable"].astype(bool)
        order = np.random.default_rng(options.seed).permutation(len(texts))
        picks = order[: options.architectures]
        labelled = order[len(picks) :][: max(options.labels, default=0)]
        if options.smallest < 1:
            macs = np.array([graph_of(str(texts[i]), True).macs for i in picks])
            picks = picks[macs <= np.quantile(macs, options.smallest)]
        rows = rows_of(options, [str(texts[i]) for i in picks], console)
        if len(labelled) < max(options.labels, default=0):
            raise SystemExit(f"--labels {max(options.labels)}: {len(labelled)} networks are left for them")
        learned = {}
        if len(labelled):
            cells = [str(texts[i]) for i in (*picks, *labelled)]
            learned = surrogate_scores(options, cells, table[options.accuracy][labelled].astype(np.float64), console)
        accuracy = table[options.accuracy][picks].astype(np.float64)
    parts = {"all": np.ones(len(picks), dtype=bool), "reachable": reachable[picks]}
    if parts["reachable"].sum() < 2:
        raise SystemExit(f"only {parts['reachable'].sum()} of {len(picks)} are reachable whole: more --architectures")
    rng = np.random.default_rng([options.seed, 1])
    return {
        "accuracy": options.accuracy,
        "architectures": len(picks),
        "smallest": options.smallest,
        "reachable_architectures": int(parts["reachable"].sum()),
        "seed": options.seed,
        **{
            name: table_of(rows, accuracy, part)
            | {key: figures(s[part], accuracy[part]) | {"ms": rows["default_score"].ms} for key, s in learned.items()}
            for name, part in parts.items()
        },
        "differences": {
            name: differences(rows, accuracy, part, options.resamples, rng) for name, part in parts.items()
        },
        "not_finite": {
            name: sum(any(v[proxy] is None for proxy in v) for v in row.values) for name, row in rows.items()
        },
        "goals": GOALS,
    }


def show(found: Mapping[str, Any]) -> None:
    console = Console()
    for part, title in (("all", "all"), ("reachable", "every operation reachable")):
        count = found["architectures" if part == "all" else "reachable_architectures"]
        table = Table(title=f"NAS-Bench-201, {found['accuracy']}, {count} architectures, {title}")
        for column in ("score", "tau", "rho", "nDCG", "top-1 regret", "ms"):
            table.add_column(column, justify="left" if column == "score" else "right")
        for name, row in sorted(found[part].items(), key=lambda item: -item[1]["tau"]):
            cells = (f"{row['tau']:.3f}", f"{row['rho']:.3f}", f"{row['ndcg']:.3f}", f"{row['top1_regret']:.2f}")
            table.add_row(name, *cells, f"{row['ms']:.0f}")
        console.print(table)
        for name, row in found["differences"][part].items():
            low, high = row["interval_95"]
            console.print(f"{name}: {row['tau']:+.3f} ({low:+.3f} to {high:+.3f})", highlight=False)
        console.print(f"goal of default_score: {found['goals'][part]}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    parser.add_argument("--architectures", type=int, default=1000)
    parser.add_argument("--scores", default=",".join(CHEAP), metavar="A,B", help=f"of {', '.join(SCORES)}")
    parser.add_argument("--labels", default="", metavar="N,M", help="of other networks, for the surrogate")
    parser.add_argument("--smallest", type=float, default=1.0, metavar="SHARE", help="only the smallest of the sample")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    asked = names(parser, "score", options.scores, [*SCORES, "default_score"])
    options.scores = tuple("default" if name == "default_score" else name for name in asked)
    options.labels = counts(parser, "--labels", options.labels, LEAST)
    check_table_options(parser, options, architectures=10, resamples=10, seed=0)
    if not 0 < options.smallest <= 1 or options.smallest * options.architectures < 10:
        parser.error(f"--smallest {options.smallest}: above 0, at most 1, and at least 10 networks")
    found = measure(options, Console(stderr=True))
    if options.json:
        print(json.dumps(found, allow_nan=False))
    else:
        show(found)


if __name__ == "__main__":
    main()
