"""From the times of units alone to the latency of whole networks, and how far that can be trusted.

A unit inside of a network does not take what it takes alone: a call is paid once, nothing changes the layout between
two units, and weights come from a farther cache. A few terms say how much, fitted on whole networks; what is left is
learned unit by unit, alike units alike: a Gaussian process over units of which only sums are seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latency_models.predictors.regression import Features
from latency_models.predictors.table import UnitRecord

Floats = NDArray[np.float64]

LEAST_NETWORKS = 10
"""With fewer, no 90 % quantile exists."""
TERMS = 6
_FLOOR = 0.2  # the least part of its own time that a unit keeps
_SWEEPS = 10
_RESOLUTION = 0.01  # relative residuals below this count alike in the robust fit
_RIDGE = 0.01
_NOISE = 0.02
"""Standard deviation of a network's relative residual that no unit explains."""
_OWN = 0.2  # the part of a unit's deviation that no other unit shares
_FOLDS = 10
_DEGREE = 3
_LEAST_CURVED, _LEAST_RANGE, _MOST_CURVED = 60, 1.5, 0.2  # networks, of the latencies, of a logarithm
_WORTH_A_CURVE = 0.95


class _Candidate(NamedTuple):
    """A form that is tried: which terms, with a call or without, and length and amplitude of the deviations."""

    used: tuple[int, ...]
    call: bool
    length: float
    amplitude: float


_FORMS: tuple[tuple[tuple[int, ...], bool], ...] = (
    ((0,), False),
    ((0, 2), True),
    ((0, 1, 2, 5), True),
    ((0, 1, 2, 3, 4, 5), True),
)
_USUAL = (0.5, 0.2)
_DEVIATIONS = ((0.5, 0.0), (0.5, 0.1), (0.5, 0.2), (0.5, 0.3), (1.0, 0.1), (1.0, 0.2))
_WORTH = 0.98  # what a less plain form must bring the loss down to


class _Tried(NamedTuple):
    """A candidate, the mean absolute logarithm of left-out prediction over measurement, and these predictions."""

    candidate: _Candidate
    loss: float
    left_out: Floats


def _best(tried: Sequence[_Tried]) -> _Tried:
    """The one with the least loss; an earlier, plainer one unless a later is clearly better."""
    best = tried[0]
    for other in tried[1:]:
        if other.loss < _WORTH * best.loss:
            best = other
    return best


def terms(ms: float, short_ms: float, found: Features) -> tuple[float, ...]:
    """What a unit brings: its time, the part of that below ``short_ms``, a call, megabytes in, out and of weights."""
    mega = 1e-6
    return (
        ms,
        min(ms, short_ms),
        1.0,
        mega * found.get("inputs", 0.0),
        mega * found.get("outputs", 0.0),
        mega * found.get("weights", 0.0),
    )


class Curve(NamedTuple):
    """By what factor a network of the predicted latency differs from it: the exponential of a polynomial.

    In its logarithm, scaled to -1 at ``least_ms`` and 1 at ``most_ms``, and constant beyond.
    """

    least_ms: float
    most_ms: float
    coefficients: tuple[float, ...]

    def apply(self, predicted_ms: float | Floats) -> Floats:
        """The latencies of networks that were predicted to take this."""
        found: Floats = predicted_ms * np.exp(np.polyval(self.coefficients, _place(predicted_ms, *self[:2])))
        return found


def _place(predicted_ms: ArrayLike, least_ms: float, most_ms: float) -> Floats:
    """Where latencies lie between the least and the most, from -1 to 1, by their logarithms."""
    low, high = np.log(least_ms), np.log(most_ms)
    found: Floats = (2 * np.log(np.clip(predicted_ms, least_ms, most_ms)) - low - high) / (high - low)
    return found


def fit_curve(predicted_ms: Floats, measured_ms: Floats) -> Curve:
    """The curve between predictions without the network itself and measurements, least squares in logarithms."""
    least_ms, most_ms = float(predicted_ms.min()), float(predicted_ms.max())
    off = np.clip(np.log(measured_ms / predicted_ms), -_MOST_CURVED, _MOST_CURVED)
    found = np.polyfit(_place(predicted_ms, least_ms, most_ms), off, _DEGREE)
    return Curve(least_ms, most_ms, tuple(found.tolist()))


@dataclass(frozen=True)
class Composition:
    """latency = ``call_ms`` + the sum over units of ``coefficients`` x terms x (1 + deviation).

    The deviation of a unit is a weighted sum of ``pulls`` over the ``points`` (unit keys, aligned) that are alike.
    ``relative_error`` is the 90 % quantile of |measured - predicted| / predicted on networks left out of the fit,
    ``modelled_share`` the share of their time that was modelled. ``idle_ms``: a network of which nothing depends on
    its input, if one was timed.
    """

    call_ms: float
    coefficients: tuple[float, ...]
    short_ms: float
    length: float
    amplitude: float
    points: tuple[str, ...]
    pulls: tuple[float, ...]
    relative_error: float = 0.0
    modelled_share: float = 0.0
    idle_ms: float | None = None
    curve: Curve | None = None

    def total_ms(self, raised_ms: float, least_ms: float) -> float:
        """The latency of a network whose units add ``raised_ms``; nothing takes less than ``least_ms``."""
        total = max(self.call_ms + raised_ms, LEAST_SHARE * raised_ms, least_ms)
        return total if self.curve is None else float(self.curve.apply(total))

    def linear_ms(self, ms: float, found: Features) -> float:
        """What a unit adds to a network by the terms alone, above 0."""
        value = sum(c * t for c, t in zip(self.coefficients, terms(ms, self.short_ms, found), strict=True))
        return max(value, _FLOOR * ms * max(self.coefficients[0], _FLOOR))


class Deviations:
    """How far units deviate from the terms, by the units of the fit that are alike."""

    def __init__(self, composition: Composition, records: Mapping[str, UnitRecord]) -> None:
        self._amplitude = composition.amplitude
        if self._amplitude:
            self._space = _Space([records[key].features for key in composition.points], composition.length)
        self._own = {key: _OWN * pull for key, pull in zip(composition.points, composition.pulls, strict=True)}
        self._pulls = np.asarray(composition.pulls, dtype=np.float64)

    def of(self, key: str, found: Features) -> float:
        """The relative deviation of a unit, between -0.5 and 1."""
        if not self._amplitude:
            return 0.0
        alike = self._space.alike([found])[0]
        return float(np.clip(self._amplitude**2 * (alike @ self._pulls + self._own.get(key, 0.0)), -0.5, 1.0))


class _Space:
    """Units as points: standardised logarithms of their features."""

    def __init__(self, rows: Sequence[Features], length: float) -> None:
        self._names = tuple(sorted({name for row in rows for name in row}))
        raw = self._raw(rows)
        self._centre = raw.mean(axis=0)
        self._scale = np.where(raw.std(axis=0) > 1e-9, raw.std(axis=0), 1.0)
        self._points = (raw - self._centre) / self._scale
        self._length = length

    def alike(self, rows: Sequence[Features]) -> Floats:
        """How alike units are to the points, from 0 to 1."""
        x = (self._raw(rows) - self._centre) / self._scale
        distance = (x**2).sum(1)[:, None] + (self._points**2).sum(1)[None, :] - 2 * x @ self._points.T
        found: Floats = np.exp(-np.maximum(distance, 0) / (2 * self._points.shape[1] * self._length**2))
        return found

    def _raw(self, rows: Sequence[Features]) -> Floats:
        return np.log1p(np.array([[row.get(n, 0.0) for n in self._names] for row in rows], dtype=np.float64))


def compose(
    networks: Sequence[Sequence[str]], measured_ms: Sequence[float], records: Mapping[str, UnitRecord]
) -> tuple[Composition, Floats]:
    """The composition fitted on all networks, and the prediction of each by a fit without it and nine others.

    ``networks`` holds the keys of the units of each, ``records`` every one of these units. The error is the
    conformal quantile of the left-out residuals (Barber et al. 2021, arXiv:1905.02928, the cross-validated variant).
    Needs at least ``LEAST_NETWORKS``.
    """
    fit = _Fit(networks, np.asarray(measured_ms, dtype=np.float64), records)
    form = _best([fit.tried(_Candidate(form[0], form[1], *_USUAL)) for form in _FORMS])
    best = _best([fit.tried(form.candidate._replace(length=n, amplitude=a)) for n, a in _DEVIATIONS])
    curve, left_out = _curved(best.left_out, fit.y)
    error = conformal_quantile(np.abs(fit.y - left_out) / left_out)
    return replace(fit.composition(best.candidate), relative_error=error, curve=curve), left_out


def _curved(left_out: Floats, y: Floats) -> tuple[Curve | None, Floats]:
    """A curve if networks that it was not fitted on are predicted clearly better with it, and their predictions."""
    if len(y) < _LEAST_CURVED or left_out.max() < _LEAST_RANGE * left_out.min():
        return None, left_out
    folds = np.arange(len(y)) % _FOLDS
    curved = np.empty(len(y))
    for fold in range(_FOLDS):
        curved[folds == fold] = fit_curve(left_out[folds != fold], y[folds != fold]).apply(left_out[folds == fold])
    if np.mean(np.abs(np.log(curved / y))) > _WORTH_A_CURVE * np.mean(np.abs(np.log(left_out / y))):
        return None, left_out
    return fit_curve(left_out, y), curved


def conformal_quantile(scores: Floats, coverage: float = 0.9) -> float:
    """The quantile that a new exchangeable score exceeds with probability at most 1 - ``coverage``."""
    rank = ceil((len(scores) + 1) * coverage)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


class _Fit:
    """The networks as counts of units, and what is shared by the fits of all folds."""

    def __init__(self, networks: Sequence[Sequence[str]], y: Floats, records: Mapping[str, UnitRecord]) -> None:
        self.y = y
        self.keys = sorted({key for network in networks for key in network})
        place = {key: i for i, key in enumerate(self.keys)}
        self.counts = np.zeros((len(networks), len(self.keys)))
        for row, network in enumerate(networks):
            for key in network:
                self.counts[row, place[key]] += 1
        used = [records[key] for key in self.keys]
        self.short_ms = float(np.quantile([record.ms for record in used], 1 / 3))
        self.ms = np.array([record.ms for record in used])
        self.terms = np.array([terms(record.ms, self.short_ms, record.features) for record in used])
        self.features = [record.features for record in used]
        self._alike: dict[float, Floats] = {}

    def alike(self, length: float) -> Floats:
        if length not in self._alike:
            own = _OWN * np.eye(len(self.keys))
            alike: Floats = _Space(self.features, length).alike(self.features) + own
            self._alike[length] = alike
        return self._alike[length]

    def linear(self, rows: NDArray[np.intp], candidate: _Candidate) -> tuple[float, Floats, Floats]:
        """Call, coefficients and the time that each unit adds, fitted on some networks."""
        totals = self.counts[rows] @ self.terms[:, candidate.used]
        if candidate.call:
            totals = np.column_stack([totals, np.ones(len(rows))])
        found = _robust(totals / self.y[rows, None])
        coefficients = np.zeros(TERMS)
        coefficients[list(candidate.used)] = found[: len(candidate.used)]
        added = np.maximum(self.terms @ coefficients, _FLOOR * self.ms * max(coefficients[0], _FLOOR))
        return float(found[-1]) if candidate.call else 0.0, coefficients, added

    def deviations(
        self, rows: NDArray[np.intp], call: float, added: Floats, candidate: _Candidate
    ) -> tuple[Floats, Floats]:
        """The pulls of all units, and the relative deviation of each."""
        length, amplitude = candidate.length, candidate.amplitude
        if not amplitude:
            return np.zeros(len(self.keys)), np.zeros(len(self.keys))
        raised = self.counts[rows] @ added
        base = np.maximum(np.maximum(call + raised, LEAST_SHARE * raised), 0.5 * self.ms.min())
        shares = self.counts[rows] * added / base[:, None]
        alike = self.alike(length)
        covariance = amplitude**2 * shares @ alike @ shares.T + _NOISE**2 * np.eye(len(rows))
        pulls = shares.T @ np.linalg.solve(covariance, self.y[rows] / base - 1)
        return pulls, np.clip(amplitude**2 * alike @ pulls, -0.5, 1.0)

    def tried(self, candidate: _Candidate) -> _Tried:
        """The candidate with every network predicted by a fit without it and the others of its fold."""
        folds = np.arange(len(self.y)) % min(_FOLDS, len(self.y))
        left_out = np.empty(len(self.y))
        for fold in range(int(folds.max()) + 1):
            kept, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            left_out[left] = self.predict(kept, left, candidate)
        return _Tried(candidate, float(np.mean(np.abs(np.log(left_out / self.y)))), left_out)

    def predict(self, rows: NDArray[np.intp], wanted: NDArray[np.intp], candidate: _Candidate) -> Floats:
        call, _, added = self.linear(rows, candidate)
        _, deviations = self.deviations(rows, call, added, candidate)
        raised = self.counts[wanted] @ (added * (1 + deviations))
        found: Floats = np.maximum(np.maximum(call + raised, LEAST_SHARE * raised), 0.5 * self.ms.min())
        return found

    def composition(self, candidate: _Candidate) -> Composition:
        rows = np.arange(len(self.y))
        call, coefficients, added = self.linear(rows, candidate)
        pulls, _ = self.deviations(rows, call, added, candidate)
        return Composition(
            call,
            tuple(coefficients.tolist()),
            self.short_ms,
            candidate.length,
            candidate.amplitude,
            tuple(self.keys),
            tuple(pulls.tolist()),
        )


LEAST_SHARE = 0.3
"""A network takes at least this part of what its units add, however negative the fitted call."""


def _robust(rows: Floats) -> Floats:
    """The coefficients that bring every row's combination near 1: least absolute residuals, by reweighting."""
    scale = np.abs(rows).mean(axis=0) + 1e-12
    scaled = rows / scale
    weight: Floats = np.ones(len(rows))
    found: Floats = np.zeros(rows.shape[1])
    ridge: Floats = _RIDGE * np.eye(rows.shape[1])
    for _ in range(_SWEEPS):
        left = np.vstack([scaled * weight[:, None], ridge])
        right = np.concatenate([weight, np.zeros(rows.shape[1])])
        found = np.asarray(np.linalg.lstsq(left, right, rcond=None)[0], dtype=np.float64)
        weight = 1 / np.sqrt(np.maximum(np.abs(scaled @ found - 1), _RESOLUTION))
    coefficients: Floats = found / scale
    return coefficients
