"""Which trials of a search enter training next, and what the trained ones say of the proxies: the report card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.ladder import points, ranked
from nas.learning import Pool, lessons_of, next_trainings, pool_features, those_that_rank, wave_size
from nas.looks import Looks
from nas.scores import aggregate, get_score_facts, ranks
from nas.spec import SearchSpec
from nas.surrogate import LEAST, cross_validated_tau, kendall_tau
from nas.trial import Trial
from search_spaces import SearchSpace

Floats = NDArray[np.float64]

BASELINES = ("params", "macs")
"""What every proxy is compared with."""


@dataclass(frozen=True, slots=True)
class ReportCard:
    """How well the accuracy after the first rung was foretold: Kendall's tau over the ``trained`` networks.

    The trained ones are those that looked best, so that a proxy ranks less among them than in the whole space.

    ``tau`` by proxy, with ``params``, ``macs`` and the ``score``; ``surrogate_tau`` is cross-validated, None while
    there is too little to learn from. ``dropped``: proxies that do not rank, which neither the score that waves start
    from nor the surrogate reads any more. ``not_finite``: of the score's proxies, on how many of all scored networks
    each had no finite value, and ranked last.
    """

    trained: int
    score: str
    tau: dict[str, float]
    surrogate_tau: float | None
    dropped: tuple[str, ...]
    not_finite: dict[str, int]


class Waves:
    """The ``nas.ladder.Choose`` of a search. What a network looks like is worked out once."""

    def __init__(self, spec: SearchSpec, space: SearchSpace, looks: Looks, slots: int = 1) -> None:
        """``slots``: how many train at a time; a wave is no smaller."""
        self._spec = spec
        self._space = space
        self._looks = looks
        self._slots = slots
        self._accuracy = [objective.metric == "accuracy" for objective in spec.steering]

    def __call__(self, candidates: Sequence[Trial], entered: Sequence[Trial], count: int) -> list[Trial]:
        """See ``nas.ladder.Choose``: by the score at first, then by what those that have trained have taught."""
        if not any(self._accuracy):  # nothing to learn: all is known
            return ranked(candidates, self._spec, 0)[:count]
        trained = [t for t in entered if t.accuracies]
        pool = [*trained, *candidates]
        costs = points(pool, self._spec.steering, self._spec.score, 0)[:, ~np.array(self._accuracy)]
        accuracy = first_accuracies(trained)
        names = self._kept(trained, accuracy)
        proxies = [t.proxies for t in pool]
        seen = Pool(self._features(pool, names), aggregate(names, proxies), costs)
        wave = min(count, max(self._slots, wave_size(len(trained))))
        found = next_trainings(seen, lessons_of([t.accuracies for t in trained]), wave)
        return [pool[i] for i in found]

    def card(self, trials: Sequence[Trial]) -> ReportCard:
        """Of all trials that have completed the first rung."""
        trained = [t for t in trials if t.accuracies]
        accuracy = first_accuracies(trained)
        names = get_score_facts(self._spec.score).proxies
        found = {name: _tau_of(name, trained, accuracy) for name in dict.fromkeys([*names, *BASELINES])}
        found["score"] = kendall_tau(aggregate(names, [t.proxies for t in trained]), accuracy)
        kept = self._kept(trained, accuracy)
        dropped = tuple(name for name in names if name not in kept)
        tau = self._tau(trained, accuracy, kept)
        gaps = {name: sum(t.proxies.get(name) is None for t in trials) for name in names}
        return ReportCard(len(trained), self._spec.score, found, tau, dropped, {k: n for k, n in gaps.items() if n})

    def _tau(self, trained: Sequence[Trial], accuracy: Floats, kept: Sequence[str]) -> float | None:
        """The surrogate's."""
        if len(trained) < LEAST:
            return None
        return cross_validated_tau(self._features(trained, kept), range(len(trained)), accuracy)

    def _kept(self, trained: Sequence[Trial], accuracy: Floats) -> tuple[str, ...]:
        return those_that_rank(get_score_facts(self._spec.score).proxies, [t.proxies for t in trained], accuracy)

    def _features(self, trials: Sequence[Trial], names: Sequence[str]) -> tuple[Floats, ...]:
        """With the proxies of ``names``."""
        looks = [self._looks(self._space.from_string(trial.architecture)) for trial in trials]
        codes, forms = np.stack([look.codes for look in looks]), np.stack([look.form for look in looks])
        return pool_features(codes, forms, [t.proxies for t in trials], names)


def first_accuracies(trained: Sequence[Trial]) -> Floats:
    """(n,) after the first rung."""
    return np.array([trial.accuracies[0] for trial in trained])


def _tau_of(name: str, trained: Sequence[Trial], accuracy: Floats) -> float:
    """Of a proxy, or of a metric that is known without training."""
    values = [trial.proxies.get(name) for trial in trained]
    if all(value is None for value in values):
        known = [trial.find(name, rung=0) for trial in trained]
        values = [None if each is None else each.value for each in known]
    return kendall_tau(ranks(values), accuracy)
