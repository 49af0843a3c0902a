"""What the latency benchmark works out and shows: how good predictions are, and two baselines beside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.latency_accuracy_networks import timed_graphs
from latency_models.kernel_rules import rules_of
from latency_models.kernels import units
from latency_models.predictors.table import UnitTable
from latency_models.profile import NetworkRecord, Profile
from latency_models.report import accuracy_report
from search_spaces.catalogue import get_space
from search_spaces.graph import Graph

TOLERANCE = 0.05
LEAST_REPEATABILITY = 0.95
"""With a smaller share of networks whose two timings agree, a run says nothing about predictions."""
MOST_WANTED = 0.99
ANCHORS = 20
_BASELINES = {"flops_linear": "a + b x MACs", "block_sum": "sum of blocks"}
_SWEEPS = 30
_RESOLUTION = 0.01  # relative residuals below this count alike

Floats = NDArray[np.float64]


def within(a: Floats, b: Floats, tolerance: float = TOLERANCE) -> float:
    """The share of pairs whose ``a`` differs from ``b`` by at most the tolerance, relative to ``b``."""
    return float(np.mean(np.abs(a - b) <= tolerance * b))


def anchors(profile: Profile) -> list[NetworkRecord]:
    """Networks that the profile timed twice or more, over the range: timed beside the others, they show the drift."""
    often = min(2, max(record.timings for record in profile.networks))
    by_latency = sorted((r for r in profile.networks if r.timings >= often), key=lambda record: record.ms)
    picks = np.unique(np.linspace(0, len(by_latency) - 1, min(ANCHORS, len(by_latency))).astype(int))
    return [by_latency[i] for i in picks]


def judge(predicted_ms: Floats, error_ms: Floats, first_ms: Floats, second_ms: Floats) -> dict[str, Any]:
    """The figures of a run: predictions against the first timing, the second timing against the first."""
    report = accuracy_report(predicted_ms.tolist(), first_ms.tolist())
    repeatability = within(second_ms, first_ms)
    goal = min(MOST_WANTED, repeatability)
    valid = repeatability >= LEAST_REPEATABILITY
    keys = ("networks", "within_5", "within_10", "mean_error", "median_error", "p95_error", "spearman")
    return {key: report[key] for key in keys} | {
        "coverage_90": float(np.mean(np.abs(predicted_ms - first_ms) <= error_ms)),
        "median_bias": float(np.median(predicted_ms / first_ms) - 1),
        "repeatability_within_5": repeatability,
        "goal_within_5": goal,
        "goal_within_10": MOST_WANTED,
        "valid": valid,
        "passed": bool(valid and report["within_5"] >= goal and report["within_10"] >= MOST_WANTED),
    }


def baseline(train: Floats, train_ms: Floats, test: Floats, first_ms: Floats) -> dict[str, float]:
    """How good latency as a linear function of the columns is, fitted on (networks, columns) that were profiled."""
    predicted = test @ fit_relative(train, train_ms)
    report = accuracy_report(predicted.tolist(), first_ms.tolist())
    return {key: report[key] for key in ("within_5", "within_10", "mean_error", "spearman")}


def fit_relative(rows: Floats, measured_ms: Floats) -> Floats:
    """Coefficients of the columns with the least absolute relative residuals, by reweighting."""
    relative = rows / measured_ms[:, None]
    weight: Floats = np.ones(len(rows))
    found: Floats = np.zeros(rows.shape[1])
    for _ in range(_SWEEPS):
        found = np.asarray(np.linalg.lstsq(relative * weight[:, None], weight, rcond=None)[0], dtype=np.float64)
        weight = 1 / np.sqrt(np.maximum(np.abs(relative @ found - 1), _RESOLUTION))
    return found


def baselines(profile: Profile, graphs: list[Graph], first_ms: Floats) -> dict[str, dict[str, float]]:
    """``flops_linear``: a + b x MACs. ``block_sum``: the profile's times of the blocks, summed and scaled."""
    timed = timed_graphs(profile, get_space(profile.space))
    timed_ms = np.array([record.ms for record in profile.networks])
    table, rules = UnitTable(profile.units), rules_of(profile.device.runtime)

    def linear(of: list[Graph]) -> Floats:
        return np.array([[1.0, graph.macs / 1e6] for graph in of])

    def summed(of: list[Graph]) -> Floats:
        return np.array([[sum(table.unit_ms(unit) for unit in units(graph, rules))] for graph in of])

    return {
        "flops_linear": baseline(linear(timed), timed_ms, linear(graphs), first_ms),
        "block_sum": baseline(summed(timed), timed_ms, summed(graphs), first_ms),
    }


def show(found: dict[str, Any]) -> None:
    """Prints the table of a run."""
    console = Console()
    first_ms = [row["first_ms"] for row in found["rows"]]
    table = Table(
        title=f"{found['space']} on {found['device']}: {found['networks']} unseen networks, "
        f"{min(first_ms):.2f} to {max(first_ms):.2f} ms"
    )
    for column in ("", "within 5 %", "within 10 %", "mean error", "p95 error", "Spearman"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)

    def row(name: str, of: dict[str, Any]) -> None:
        shares = (f"{of[key]:.1%}" if key in of else "" for key in ("within_5", "within_10", "mean_error", "p95_error"))
        table.add_row(name, *shares, f"{of['spearman']:.4f}")

    row("prediction", found)
    for name, figures in found["baselines"].items():
        row(_BASELINES[name], figures)
    table.add_section()
    table.add_row("goal", f"{found['goal_within_5']:.1%}", f"{found['goal_within_10']:.1%}")
    table.add_row("timed again", f"{found['repeatability_within_5']:.1%}")
    console.print(table)
    drift = "; ".join(f"{name} x {by:.3f} {plus:+.3f} ms" for name, (by, plus) in found["drift"].items())
    for line in (
        f"inside the stated 90 % interval: {found['coverage_90']:.0%}; median bias {found['median_bias']:+.1%}",
        f"second timing {found['gap_minutes']:.1f} min after the first; drift since the profile: {drift}",
        f"not corrected for drift: {found['within_5_raw']:.1%} within 5 %, "
        f"{found['repeatability_within_5_raw']:.1%} when timed again",
        f"profile {found['profile']['sha256'][:12]}, seed of the networks {found['test_seed']}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    if not found["valid"]:
        console.print(
            f"[bold red]invalid[/]: {found['repeatability_within_5']:.1%} of the networks take the same time within "
            f"{TOLERANCE:.0%} when timed again, {LEAST_REPEATABILITY:.0%} are needed; use a quieter machine",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print("goal met" if found["passed"] else "[bold]goal missed[/]")
