"""The ladder of fidelity: which trials may train now, and which have fallen off. Pure functions of the history.

Rung 0 is the zero-shot score, the last rung full training. Networks enter rung 1 in waves, so that each wave is chosen
with what the ones before have taught; those that have entered are told by their states. From there on the best climb,
by non-dominated sorting with ties broken by hypervolume contribution (the multi-objective form of successive halving,
Jamieson and Talwalkar 2016; asynchronous, Li et al. 2020; Schmucker et al. 2021), compared only with trials of the same
rung.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latency_models.estimate import Source
from nas.learning import scored_before
from nas.pareto import rank_by_dominance
from nas.scores import score_values
from nas.spec import Objective, SearchSpec
from nas.trial import Trial, TrialState

Points = NDArray[np.float64]


class Decision(NamedTuple):
    """``jobs`` are (trial number, rung) pairs that may run now; ``states`` the states that follow for trials."""

    jobs: tuple[tuple[int, int], ...]
    states: Mapping[int, TrialState]


Choose = Callable[[Sequence[Trial], Sequence[Trial], int], Sequence[Trial]]
"""``choose(candidates, entered, count)``: up to ``count`` candidates that should train next, best first.

All of the entered ones have completed rung 1 or failed. Pure: the same for the same history.
"""


def decide(
    trials: Sequence[Trial], spec: SearchSpec, choose: Choose | None = None, slots: int = 1, *, hold: bool = False
) -> Decision:
    """What follows from the history. Without ``choose`` all enter at once, by their score; with ``hold`` nobody yet.

    A rung is complete when nobody below it trains or may enter. Before, the best climb only where some of the
    ``slots``, the jobs that can run at a time, would idle: then floor(n / eta) of those n that have completed it so far
    (asynchronous halving, Li et al. 2020). In all never more than ceil(n / eta) climb.
    """
    states: dict[int, TrialState] = {}
    jobs: list[tuple[int, int]] = []
    entered = entrants(trials, spec, choose, hold=hold)
    for rung in range(1, len(spec.rungs) + 1):
        open_jobs = [t for t in entered if t.rung < rung and t.state != TrialState.FAILED]
        states.update((t.number, TrialState.TRAINING) for t in open_jobs)
        jobs += [(t.number, rung) for t in open_jobs]
        done = [t for t in entered if t.rung >= rung]
        if rung == len(spec.rungs):
            states.update((t.number, TrialState.WAITING) for t in done if t.state not in FINAL)
            break
        entered = climbers(done, spec, rung, max(0, slots - len(jobs)) if jobs or hold else None)
        kept = {t.number for t in entered}
        left = TrialState.WAITING if jobs or hold else TrialState.PRUNED
        states.update((t.number, left) for t in done if t.number not in kept and t.state != TrialState.FAILED)
    return Decision(tuple(jobs), states)


def entrants(
    trials: Sequence[Trial], spec: SearchSpec, choose: Choose | None = None, *, hold: bool = False
) -> list[Trial]:
    """The trials that have entered rung 1, and those that enter it now: when all others have completed it or failed.

    Baselines always enter, at the beginning; the budget's number of trainings in all, one a network (isomorphic
    networks train once).
    """
    entered = _by_merit([t for t in trials if has_entered(t)], spec)
    if hold or any(t.rung < 1 and t.state != TrialState.FAILED for t in entered):
        return entered
    left = [t for t in trials if not has_entered(t) and t.state not in FINAL]
    if not entered:
        entered = [t for t in left if t.baseline is not None]
    places = spec.budget.trainings - len(entered)
    had = {t.fingerprint for t in entered}
    candidates = [t for t in left if t.baseline is None and t.fingerprint not in had and _is_scored(t)]
    distinct = list({t.fingerprint: t for t in reversed(candidates)}.values())[::-1]
    if places <= 0 or not distinct:
        return entered
    chosen = ranked(distinct, spec, 0) if choose is None else choose(distinct, entered, places)
    return [*entered, *chosen[:places]]


def has_entered(trial: Trial) -> bool:
    """Whether the trial trains, or has trained, or has failed to."""
    return trial.state not in (TrialState.SCORED, TrialState.FAILED) or (
        trial.state == TrialState.FAILED and _is_scored(trial)
    )


def due(trials: Sequence[Trial], spec: SearchSpec, learns: bool) -> int:
    """How many networks should have been scored before the next ones train; 0 when no more will.

    The whole budget before the first; with ``learns`` part of it by part (``nas.learning.scored_before``).
    """
    entered = [t for t in trials if has_entered(t)]
    proposed = sum(t.baseline is None for t in entered)
    if len(entered) >= spec.budget.trainings or (proposed and not learns):
        return 0
    return scored_before(proposed, spec.budget.scored, spec.budget.trainings) if learns else spec.budget.scored


def _by_merit(trials: Sequence[Trial], spec: SearchSpec) -> list[Trial]:
    """Baselines, then the others by their score: who trains first."""
    others = [t for t in trials if t.baseline is None]
    return [*(t for t in trials if t.baseline is not None), *ranked(others, spec, 0)]


def _is_scored(trial: Trial) -> bool:
    return any(value is not None for value in trial.proxies.values())


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


def climbers(trials: Sequence[Trial], spec: SearchSpec, rung: int, idle: int | None = None) -> list[Trial]:
    """Of the trials that have completed ``rung`` those that climb, best first; those that have climbed among them.

    ceil(n / eta); with ``idle``, while others may still complete the rung, floor(n / eta), and no more than so many
    anew.
    Baselines always climb and take no place from others.
    """
    baselines = [t for t in trials if t.baseline is not None]
    others = [t for t in trials if t.baseline is None]
    climbed = [t for t in others if has_climbed(t, rung)]
    share = len(others) / spec.eta
    places = ceil(share) if idle is None else min(floor(share), len(climbed) + idle)
    order = ranked(others, spec, rung)
    first = {t.number for t in climbed}
    anew = [t for t in (order if idle is None else order[: floor(share)]) if t.number not in first]
    kept = first | {t.number for t in anew[: max(0, places - len(climbed))]}
    return [*baselines, *(t for t in order if t.number in kept)]


def has_climbed(trial: Trial, rung: int) -> bool:
    """Whether a trial that has completed ``rung`` trains for the next one, or has, or has failed to."""
    return trial.rung > rung or trial.state in (TrialState.TRAINING, TrialState.FAILED)


def ranked(trials: Sequence[Trial], spec: SearchSpec, rung: int) -> list[Trial]:
    """The trials in order of merit at a rung, best first."""
    if not trials:
        return []
    return [trials[i] for i in rank_by_dominance(points(trials, spec.steering, spec.score, rung))]


def points(
    trials: Sequence[Trial], objectives: Sequence[Objective], score: str, rung: int, *, measured: bool = False
) -> Points:
    """(trials, objectives), all minimised, as known at a rung.

    At rung 0 the zero-shot ``score`` stands in for what only training shows. A device's figure is the
    predicted one, so that trials are compared alike, or with ``measured`` the measured one; that of an
    analytic device is always the analytic one.
    """
    columns = []
    for objective in objectives:
        sign = -1.0 if objective.goal == "maximize" else 1.0
        if objective.metric == "accuracy" and rung == 0:
            columns.append(-score_values(score, [t.proxies for t in trials]))
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
