"""A Gaussian process that adds up what several groups of features say, one smooth function a group.

With one kernel over all features the largest group decides which networks are alike. With a term for each group every
one of them is as smooth as the data says, and one that says nothing fades out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_VARIANCE, _LENGTH, _NOISE = np.log(0.3), 1.0, np.log(0.3)
"""Centres of the normal priors on the logarithms of a term's variance and length (two networks are some 1.4 apart), and
of the variance of the noise, where targets have variance 1. Weak: ten networks must do at first."""
_VARIANCE_SPREAD, _LENGTH_SPREAD, _NOISE_SPREAD = 1.0, 0.5, 1.0
_TUNED_ON = 200
"""Of the known networks, for variances and lengths: the time that takes grows with the cube of their number."""
_ITERATIONS = 60
_JITTER = 1e-8


class Beliefs(NamedTuple):
    """The mean and the standard deviation, (n,) each, of what networks reach but for noise."""

    mean: Floats
    deviation: Floats


def believe(groups: Sequence[Floats], known: Indices, target: Floats) -> Beliefs:
    """What each of n networks is believed to reach, from the ``target`` (k,) of the ``known`` (k,) ones.

    ``groups`` of features, (n, d) each, finite. Networks that no feature tells apart are believed to be alike.
    Variances and lengths are the most likely ones given their priors. Deterministic.

    Source: Duvenaud et al. 2011, arXiv:1112.4394, of first order, with groups in place of single features; Rasmussen
    and Williams 2006, algorithm 2.1.
    """
    from scipy.linalg import cho_solve, solve_triangular  # type: ignore[import-untyped]

    terms = [scaled for group in groups if (scaled := _scaled(group)).shape[1]]
    count, middle = len(groups[0]), float(target.mean())
    some = np.unique(np.linspace(0, len(known) - 1, min(_TUNED_ON, len(known))).astype(np.int64))
    theta = _most_likely([_distances(t[known[some]], t[known[some]]) for t in terms], target[some] - middle)
    variance, length, noise = _parts(theta)
    across, prior = np.zeros((count, len(known))), float(variance.sum())
    for i, term in enumerate(terms):
        across += variance[i] * _matern(_distances(term, term[known]) / length[i])
    factor = np.linalg.cholesky(across[known] + (noise + _JITTER) * np.eye(len(known)))
    mean = middle + across @ cho_solve((factor, True), target - middle)
    explained = solve_triangular(factor, across.T, lower=True)
    return Beliefs(mean, np.sqrt(np.clip(prior - (explained**2).sum(axis=0), 0.0, None)))


def _scaled(group: Floats) -> Floats:
    """Columns of mean 0 and equal deviation, such that two rows are some 1.4 apart; constant ones are left out."""
    varied = group[:, np.ptp(group, axis=0) > 0]
    found: Floats = (varied - varied.mean(axis=0)) / (varied.std(axis=0) * np.sqrt(max(1, varied.shape[1])))
    return found


def _distances(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    found: Floats = np.sqrt(np.clip(squares, 0.0, None))
    return found


def _matern(distance: Floats) -> Floats:
    """Of smoothness 5/2. Source: Rasmussen and Williams 2006, equation 4.17."""
    s = np.sqrt(5) * distance
    found: Floats = (1 + s + s**2 / 3) * np.exp(-s)
    return found


def _parts(theta: Floats) -> tuple[Floats, Floats, float]:
    """The variance and the length of each term, and the variance of the noise, from their logarithms in a row."""
    terms = len(theta) // 2
    return np.exp(theta[:terms]), np.exp(theta[terms:-1]), float(np.exp(theta[-1]))


def _most_likely(distances: Sequence[Floats], target: Floats) -> Floats:
    """The logarithms of variances, lengths and noise (2 m + 1,) of greatest posterior density, from their centres."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    terms = len(distances)
    centre = np.array([_VARIANCE] * terms + [_LENGTH] * terms + [_NOISE])
    spread = np.array([_VARIANCE_SPREAD] * terms + [_LENGTH_SPREAD] * terms + [_NOISE_SPREAD])

    def loss(theta: Floats) -> tuple[float, Floats]:
        value, slopes = _misfit(theta, distances, target)
        off = (theta - centre) / spread
        return value + float(off @ off) / 2, slopes + off / spread

    bounds = np.column_stack([centre - 5 * spread, centre + 5 * spread])
    result = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS})
    found: Floats = result.x
    return found


def _misfit(theta: Floats, distances: Sequence[Floats], target: Floats) -> tuple[float, Floats]:
    """The negative logarithm of the marginal likelihood but for a constant, and its gradient.

    Source: Rasmussen and Williams 2006, equations 5.8 and 5.9.
    """
    variance, length, noise = _parts(theta)
    count, terms = len(target), len(distances)
    parts = [variance[i] * _matern(distances[i] / length[i]) for i in range(terms)]
    covariance = sum(parts, (noise + _JITTER) * np.eye(count))
    factor = np.linalg.cholesky(covariance)
    inverse = np.linalg.inv(covariance)
    weights = inverse @ target
    value = float(target @ weights) / 2 + float(np.log(np.diag(factor)).sum())
    outer = inverse - np.outer(weights, weights)
    slopes = np.empty_like(theta)
    for i in range(terms):
        s = np.sqrt(5) * distances[i] / length[i]
        slopes[i] = (outer * parts[i]).sum() / 2
        slopes[terms + i] = (outer * variance[i] * s**2 * (1 + s) * np.exp(-s)).sum() / 6
    slopes[-1] = noise * np.trace(outer) / 2
    return value, slopes
