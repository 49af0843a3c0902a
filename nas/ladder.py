"""The ladder of fidelity: which trials may train now, and which have fallen off. Pure functions of the history.

Rung 0 is the zero-shot score, the last rung full training. At each rung the best climb, by
non-dominated sorting with ties broken by hypervolume contribution (the multi-objective form of
successive halving, Jamieson and Talwalkar 2016; Schmucker et al. 2021), compared only with trials of the
same rung.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latency_models.estimate import Source
from nas.pareto import rank_by_dominance
from nas.scores import score_values
from nas.spec import SearchSpec
from nas.trial import Trial, TrialState

Points = NDArray[np.float64]


class Decision(NamedTuple):
    """``jobs`` are (trial number, rung) pairs that may run now; ``states`` the states that follow for trials."""

    jobs: tuple[tuple[int, int], ...]
    states: Mapping[int, TrialState]


def decide(trials: Sequence[Trial], spec: SearchSpec) -> Decision:
    """What follows from the history once exploration has ended."""
    states: dict[int, TrialState] = {}
    entered = climbers(trials, spec, 0)
    for rung in range(1, len(spec.rungs) + 1):
        open_jobs = [t for t in entered if t.rung < rung and t.state != TrialState.FAILED]
        states.update((t.number, TrialState.TRAINING) for t in open_jobs)
        if open_jobs:
            waiting = (t for t in entered if t.rung >= rung and t.state != TrialState.FAILED)
            states.update((t.number, TrialState.WAITING) for t in waiting)
            return Decision(tuple((t.number, rung) for t in open_jobs), states)
        done = [t for t in entered if t.rung >= rung]
        if rung == len(spec.rungs):
            states.update((t.number, TrialState.WAITING) for t in done if t.state not in FINAL)
            break
        entered = climbers(done, spec, rung)
        kept = {t.number for t in entered}
        states.update((t.number, TrialState.PRUNED) for t in done if t.number not in kept)
    return Decision((), states)


def progress(trials: Sequence[Trial], spec: SearchSpec) -> tuple[int, int]:
    """Rungs completed, and rungs that will have been completed when nothing fails."""
    fixed = sum(t.baseline is not None for t in trials)
    entering = min(spec.budget.trainings, len(trials)) - fixed
    total = 0
    for _ in spec.rungs:
        total += fixed + entering
        entering = ceil(entering / spec.eta)
    return min(total, sum(trial.rung for trial in trials)), total


FINAL = frozenset(
    {TrialState.SUCCEEDED, TrialState.INFEASIBLE, TrialState.FAILED, TrialState.CANCELLED, TrialState.PRUNED}
)
"""States that nothing follows."""


def climbers(trials: Sequence[Trial], spec: SearchSpec, rung: int) -> list[Trial]:
    """The trials that climb from ``rung``, best first, given those that completed it.

    From rung 0 the budget's number of trainings, one a network (isomorphic networks train once); from
    the others ceil(n / eta). Baselines always climb and take no place from others after rung 0.
    """
    baselines = [t for t in trials if t.baseline is not None]
    if rung == 0:
        scored = [t for t in trials if any(value is not None for value in t.proxies.values())]
        order = [*baselines, *(t for t in ranked(scored, spec, 0) if t.baseline is None)]
        distinct = {t.fingerprint: t for t in reversed(order)}
        others = [t for t in order if distinct[t.fingerprint] is t and t.baseline is None]
        return [*baselines, *others][: spec.budget.trainings]
    others = ranked([t for t in trials if t.baseline is None], spec, rung)
    return [*baselines, *others[: ceil(len(others) / spec.eta)]]


def ranked(trials: Sequence[Trial], spec: SearchSpec, rung: int) -> list[Trial]:
    """The trials in order of merit at a rung, best first."""
    if not trials:
        return []
    return [trials[i] for i in rank_by_dominance(points(trials, spec, rung))]


def points(trials: Sequence[Trial], spec: SearchSpec, rung: int, *, measured: bool = False) -> Points:
    """(trials, objectives), all minimised, as known at a rung.

    At rung 0 the zero-shot score stands in for what only training shows. A device's figure is the
    predicted one, so that trials are compared alike, or with ``measured`` the measured one; that of an
    analytic device is always the analytic one.
    """
    columns = []
    for objective in spec.objectives:
        sign = -1.0 if objective.goal == "maximize" else 1.0
        if objective.metric == "accuracy" and rung == 0:
            columns.append(-score_values(spec.score, [t.proxies for t in trials]))
            continue
        source = Source.MEASURED if measured else Source.PREDICTED
        values = []
        for trial in trials:
            if objective.metric == "accuracy":
                found = trial.find("accuracy", rung=rung)
            elif objective.device is not None:
                found = trial.find(objective.metric, objective.device, source=source)
                if found is None:  # a device that nobody can attach has this figure alone
                    found = trial.find(objective.metric, objective.device, source=Source.ANALYTIC)
            else:
                found = trial.find(objective.metric)
            values.append(np.inf if found is None else sign * found.value)
        columns.append(np.array(values))
    return np.column_stack(columns).astype(np.float64)
