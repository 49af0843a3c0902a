"""The latency of a whole table of networks on a new device, from a few of them timed there and from known devices.

    indices = choose_samples(encodings, source_latency_ms, k=10)
    predictor = fit(encodings, source_latency_ms, indices, latency_ms)      # what the k networks took
    if predictor.alike: mean_ms, error_ms = predictor.predict(range(n))
    else: ...                                                               # time kernels instead

The latency is a level, plus a mixture of the known devices, plus what each option costs more or less than on any of
them: a Gaussian process in milliseconds, where the blocks of a network add up, and not in their logarithm.
Where no known device is alike this cannot work, and it says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from latency_models.report import spearman
from latency_models.transfer.checks import check_count, check_indices, check_networks, check_samples, check_seed
from latency_models.transfer.features import Features, Floats, Ints, make_features
from latency_models.transfer.mixture import Mixture, fit_mixture
from latency_models.transfer.sampling import spread_samples

__all__ = ["LeaveOneOut", "TransferPredictor", "choose_samples", "fit"]

LEAST_CORRELATION = 0.7
"""Of the nearest known device with the new one, over the samples: below it no device is alike."""
LEAST_EXPLAINED = 0.6
"""Share of the variance of new measurements that the predictor expects to explain: below it no device is alike."""
COVERAGE = 0.9
PRIOR_SCORES = np.array([0.07, 0.2, 0.34, 0.49, 0.65, 0.84, 1.06, 1.34, 1.78, 2.78])
"""Absolute quantiles of Student's distribution (four degrees of freedom, the noise of ``mixture``) at the middles of
ten equal parts: as if ten more samples had been as far off as the model says. Of ten samples alone, the largest error
would set the interval."""
FLOOR = 0.01
"""No prediction is below this share of the fastest sample."""


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """How the samples are predicted by each other: fractions within ±5 % and ±10 %, rank correlation.

    The samples lie further out than most networks do, and each is predicted with one sample fewer: a low estimate.
    """

    within_5: float
    within_10: float
    spearman: float


@dataclass(frozen=True, slots=True)
class TransferPredictor:
    """Predicts every network of the table that it was made with.

    ``nearest``: the column of the known device whose latencies correlate best with the samples, and
    ``nearest_correlation``; None and 0 where no device is known. ``explained``: the share of the variance of the
    networks' measured latencies that the predictor expects to explain. ``alike``: whether both are enough for the
    predictions to be used.
    """

    leave_one_out: LeaveOneOut
    alike: bool
    nearest: int | None
    nearest_correlation: float
    explained: float
    _features: Features = field(repr=False)
    _mixture: Mixture = field(repr=False)
    _level_ms: float = field(repr=False)
    _factor: float = field(repr=False)
    _floor_ms: float = field(repr=False)

    def predict(self, indices: ArrayLike) -> tuple[Floats, Floats]:
        """Latency and half-width of its 90 % interval in milliseconds, (m,) both, of the networks in these rows.

        The interval is for one more measurement, with the noise that the device's samples show.
        Raises: InvalidSpec for a row that is not in the table.
        """
        rows = check_indices(indices, len(self._features.parts[0]))
        mean, deviation = self._mixture.predict(self._features, rows)
        latency = self._level_ms * (1 + mean)
        lifted = np.maximum(latency, self._floor_ms)
        return lifted, self._level_ms * self._factor * deviation + (lifted - latency)


def choose_samples(encodings: ArrayLike, source_latency_ms: ArrayLike, k: int, seed: int = 0) -> Ints:
    """The rows, (k,), of the networks to time on a new device: after them the least is unknown of all others.

    ``encodings``: (n, choices), the index of the option of each choice. ``source_latency_ms``: (n, devices known),
    (n, 0) where none is. V-optimal design, greedy, under the prior of ``fit`` (Atkinson, Donev and Tobias 2007,
    section 10.6). Raises: InvalidSpec.
    """
    codes, sources = check_networks(encodings, source_latency_ms)
    count, rng = check_count(k, len(codes)), np.random.default_rng(check_seed(seed))
    return spread_samples(make_features(codes, sources), count, rng)


def fit(
    encodings: ArrayLike, source_latency_ms: ArrayLike, indices: ArrayLike, latency_ms: ArrayLike
) -> TransferPredictor:
    """A predictor of the device on which the networks in the rows ``indices`` took ``latency_ms``, (k,) both.

    Takes the ``encodings`` and ``source_latency_ms`` of ``choose_samples``. Intervals by conformal prediction on the
    errors of each sample as the others predict it, over the expected ones (Lei et al. 2018, section 5.2).
    Raises: InvalidSpec.
    """
    codes, sources = check_networks(encodings, source_latency_ms)
    rows, times = check_samples(indices, latency_ms, len(codes))
    features, level_ms = make_features(codes, sources), float(times.mean())
    values = times / level_ms - 1
    mixture = fit_mixture(features, rows, values)
    left_out, deviation = mixture.leave_one_out(values)
    error = np.abs(left_out - values)
    nearest, correlation = _nearest(sources[rows][:, features.kept], times)
    explained = _explained(features, mixture)
    return TransferPredictor(
        LeaveOneOut(
            float(np.mean(error <= 0.05 * (1 + values))),
            float(np.mean(error <= 0.10 * (1 + values))),
            spearman(left_out, values),
        ),
        alike=correlation >= LEAST_CORRELATION and explained >= LEAST_EXPLAINED,
        nearest=None if nearest is None else int(features.kept[nearest]),
        nearest_correlation=correlation,
        explained=explained,
        _features=features,
        _mixture=mixture,
        _level_ms=level_ms,
        _factor=_interval_factor(error / deviation),
        _floor_ms=FLOOR * float(times.min()),
    )


def _interval_factor(scores: Floats) -> float:
    """Deviations that hold the coverage: the quantile of the scores, with those of the prior among them."""
    pool = np.sort(np.concatenate([scores, PRIOR_SCORES]))
    return float(pool[min(len(pool), int(np.ceil(COVERAGE * (len(pool) + 1)))) - 1])


def _nearest(source_latency_ms: Floats, latency_ms: Floats) -> tuple[int | None, float]:
    """The column that correlates best over the samples, and how well; a column that does not vary there has 0."""
    if source_latency_ms.shape[1] == 0:
        return None, 0.0
    sources = source_latency_ms - source_latency_ms.mean(axis=0)
    target = latency_ms - latency_ms.mean()
    norm = np.linalg.norm(sources, axis=0) * np.linalg.norm(target)
    correlation = np.divide(sources.T @ target, norm, out=np.zeros(len(norm)), where=norm > 0)
    best = int(np.argmax(correlation))
    return best, float(correlation[best])


def _explained(features: Features, mixture: Mixture) -> float:
    mean, deviation = mixture.predict(features, np.arange(len(features.parts[0])))
    signal, rest = float(mean.var()), float(np.mean(deviation**2))
    return signal / (signal + rest)
