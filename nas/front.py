"""The Pareto front of a search and its winner. Pure functions of the specification and the trials."""

from collections.abc import Sequence

import numpy as np

from nas.ladder import points
from nas.pareto import non_dominated
from nas.scores import score_values
from nas.spec import SearchSpec
from nas.trial import Trial, TrialState


def front(spec: SearchSpec, trials: Sequence[Trial], rung: int | None = None) -> list[Trial]:
    """The Pareto-optimal trials, best in the first objective first.

    By default of the trials that completed the last rung and were measured; ``rung=0`` gives the front
    of the zero-shot scores over every scored trial, with predicted latency.
    """
    if rung == 0:
        candidates = [t for t in trials if any(value is not None for value in t.proxies.values())]
        values = points(candidates, spec.objectives, spec.score, 0) if candidates else np.empty((0, 1))
    else:
        candidates = [t for t in trials if t.state == TrialState.SUCCEEDED]
        values = (
            points(candidates, spec.objectives, spec.score, len(spec.rungs), measured=True)
            if candidates
            else np.empty((0, 1))
        )
    kept = np.flatnonzero(non_dominated(values)) if candidates else np.empty(0, dtype=np.int64)
    return [candidates[i] for i in sorted(kept, key=lambda i: (*values[i], candidates[i].number))]


def baselines(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that the specification lists as baselines, in its order, wherever they ended."""
    return [trial for trial in trials if trial.baseline is not None]


def winner(spec: SearchSpec, trials: Sequence[Trial]) -> Trial | None:
    """The front's trial of highest validation accuracy, ties to the lower latency; None without a front."""
    device = spec.devices[0] if spec.devices else None

    def merit(trial: Trial) -> tuple[float, float, int]:
        accuracy = trial.find("accuracy", rung=len(spec.rungs))
        latency = trial.find("latency_ms", device)
        return (-accuracy.value if accuracy else 0.0, latency.value if latency else 0.0, trial.number)

    return min(front(spec, trials), key=merit, default=None)


def zero_shot_scores(spec: SearchSpec, trials: Sequence[Trial]) -> dict[int, float]:
    """The score of every scored trial by number, higher is better, ranked over the trials given."""
    scored = [t for t in trials if t.proxies]
    values = score_values(spec.score, [t.proxies for t in scored])
    return {t.number: float(value) for t, value in zip(scored, values, strict=True)}
