"""The time of a unit that was never timed, from units that were: a cost of each feature, and what that leaves.

The costs add up, as the ops of a unit do. What is left is a matter of shapes: a Gaussian process on logarithms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = Mapping[str, float]
_LENGTHS = (0.5, 1.0, 2.0, 4.0)
_NOISE = 0.02
"""Least standard deviation of a logarithm: two timings of one unit differ by this much."""
_LINEAR_SCALE = 3.0
_LEAST_SHARE = 0.1  # of the fastest unit: no rates give less


@dataclass(frozen=True)
class Rates:
    """Milliseconds that one of each feature costs, none below 0."""

    ms: Mapping[str, float]
    least_ms: float

    def total_ms(self, features: Features) -> float:
        """What the features cost together, always above 0."""
        return max(self.least_ms, sum([self.ms.get(name, 0.0) * value for name, value in features.items()]))


def fit_rates(features: Sequence[Features], times_ms: Sequence[float]) -> Rates:
    """The rates with the least relative errors (non-negative least squares, Lawson and Hanson 1974, chapter 23)."""
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    names = sorted({name for row in features for name in row})
    times = np.asarray(times_ms, dtype=np.float64)
    rows = np.array([[row.get(name, 0.0) for name in names] for row in features], dtype=np.float64) / times[:, None]
    size = np.maximum(np.sqrt((rows**2).mean(axis=0)), np.finfo(np.float64).tiny)
    found, _ = nnls(rows / size, np.ones(len(times)), maxiter=100 * len(names))
    return Rates(dict(zip(names, (found / size).tolist(), strict=True)), _LEAST_SHARE * float(times.min()))


@dataclass(frozen=True)
class UnitModel:
    """Predicts milliseconds from features (Rasmussen and Williams 2006, algorithm 2.1; linear plus RBF kernel).

    Built from plain data by ``fit_units``, always the same way. ``relative_error`` is the 90th percentile
    of the leave-one-out error, ``residuals`` the logarithm of each time over its leave-one-out prediction.
    """

    rates: Rates
    names: tuple[str, ...]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    mean: float
    length: float
    relative_error: float
    residuals: NDArray[np.float64]

    def predict_ms(self, features: Features) -> float:
        """The time of a unit with these features, always above 0."""
        x = (_logs(self.names, [features]) - self.centre) / self.scale
        left = self.mean + (_kernel(x, self.points, self.length) @ self.weights)[0]
        return self.rates.total_ms(features) * float(np.exp(left))


def fit_units(
    features: Sequence[Features], times_ms: Sequence[float], errors: Sequence[float], rates: Rates
) -> UnitModel:
    """Fits what ``rates`` leave of at least two timed units with relative ``errors``.

    The length scale has the least leave-one-out error.
    """
    names = tuple(sorted({name for row in features for name in row}))
    raw = _logs(names, features)
    y = np.log(np.asarray(times_ms, dtype=np.float64) / [rates.total_ms(row) for row in features])
    noise = np.maximum(_NOISE, np.asarray(errors, dtype=np.float64)) ** 2
    centre = raw.mean(axis=0)
    scale = np.where(raw.std(axis=0) > 1e-9, raw.std(axis=0), 1.0)
    x = (raw - centre) / scale
    mean = float(y.mean())
    fits = [_fit(x, y - mean, noise, length) for length in _LENGTHS]
    best = min(range(len(fits)), key=lambda i: float(np.mean(np.abs(fits[i][1]))))
    weights, residuals = fits[best]
    relative = np.abs(np.expm1(residuals))
    return UnitModel(
        rates, names, centre, scale, x, weights, mean, _LENGTHS[best], float(np.percentile(relative, 90)), residuals
    )


def _fit(
    x: NDArray[np.float64], y: NDArray[np.float64], noise: NDArray[np.float64], length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights of the points, and the leave-one-out residuals in closed form (the same book, section 5.4.2)."""
    inverse = np.linalg.inv(_kernel(x, x, length) + np.diag(noise))
    weights = inverse @ y
    return weights, weights / np.diag(inverse)


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    width = a.shape[1]
    distance = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    kernel: NDArray[np.float64] = _LINEAR_SCALE**2 * (1 + a @ b.T) / width + np.exp(
        -np.maximum(distance, 0) / (2 * width * length**2)
    )
    return kernel


def _logs(names: tuple[str, ...], rows: Sequence[Features]) -> NDArray[np.float64]:
    return np.log1p(np.array([[row.get(name, 0.0) for name in names] for row in rows], dtype=np.float64))
