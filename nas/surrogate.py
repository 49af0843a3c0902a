"""What training teaches: a metric of every network of a pool, from those of it that were trained.

The zero-shot score is the prior: a line through the trained networks' scores, from which a Gaussian process and
extremely randomised trees on the features learn what is left. The metric is seen by its rank, so that a few networks
that do not train at all stretch nothing, and is given back in its own unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_spaces.errors import InvalidSpec

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LEAST = 8
"""Trained networks, from which on the surrogate says something."""
_FOLDS = 5
_TREES = 200
_TUNED_ON = 200  # of the trained ones, for the parameters of the Gaussian process


def predict_pool(
    features: ArrayLike, score: ArrayLike, trained: ArrayLike, metric: ArrayLike, *, seed: int = 0
) -> Floats:
    """(n,) the metric, in its own unit, that each of a pool of n networks is most likely to reach.

    ``features`` (n, d), not finite counts as the column's least; ``score`` (n,) zero-shot; ``trained`` (k,) indices of
    the trained ones and their ``metric`` (k,). Deterministic. Raises: InvalidSpec with fewer than ``LEAST`` trained.
    """
    known, values = _checked(trained, metric)
    x, prior, target = _standardised(features), normal_scores(score), normal_scores(values)
    return _unit(_fit(x, prior, known, target, np.arange(len(x)), seed), target, values)


def cross_validated_tau(
    features: ArrayLike, score: ArrayLike, trained: ArrayLike, metric: ArrayLike, *, seed: int = 0
) -> float:
    """Kendall's tau between the metric and what trained networks are predicted by a fit that leaves them out.

    Five folds. The arguments are those of ``predict_pool``, and what it raises.
    """
    known, values = _checked(trained, metric)
    x, prior, target = _standardised(features), normal_scores(score), normal_scores(values)
    fold = np.random.default_rng([seed, len(known)]).permutation(len(known)) % min(_FOLDS, len(known) // 2)
    left_out = np.empty(len(known))
    for each in range(int(fold.max()) + 1):
        fitted, asked = fold != each, fold == each
        left_out[asked] = _fit(x, prior, known[fitted], target[fitted], known[asked], seed)
    return kendall_tau(left_out, target)


def _checked(trained: ArrayLike, metric: ArrayLike) -> tuple[Indices, Floats]:
    known, values = np.asarray(trained, dtype=np.int64), np.asarray(metric, dtype=np.float64)
    if len(known) < LEAST:
        raise InvalidSpec(f"{len(known)} trained networks", hint=f"at least {LEAST}", field="trained")
    if len(known) != len(values) or not np.isfinite(values).all():
        raise InvalidSpec("a trained network without its metric", hint="one finite number each", field="metric")
    return known, values


def normal_scores(values: ArrayLike) -> Floats:
    """(n,) the standard normal quantile of each value's rank, ties sharing theirs; what is not finite ranks last."""
    from scipy.special import ndtri  # type: ignore[import-untyped]

    given = np.asarray(values, dtype=np.float64)
    given = np.where(np.isfinite(given), given, -np.inf)
    _, place, counts = np.unique(given, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    found: Floats = ndtri((rank - 0.5) / len(given))
    return found


def guess_score(features: ArrayLike, score: ArrayLike, *, seed: int = 0) -> Floats:
    """(n,) the score with every nan replaced by what trees tell from the features of the networks that have one.

    As given where none is missing; else as normal scores, whose order among the scored ones is the same. Deterministic.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    given = np.asarray(score, dtype=np.float64)
    missing = np.isnan(given)
    if not missing.any() or missing.all():
        return given
    x, found = _standardised(features), np.empty(len(given))
    found[~missing] = normal_scores(given[~missing])
    model = ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
    found[missing] = model.fit(x[~missing], found[~missing]).predict(x[missing])
    return found


def _standardised(features: ArrayLike) -> Floats:
    """Columns of mean 0 and deviation 1; constant ones are left out."""
    x = np.array(features, dtype=np.float64, ndmin=2)
    for column in x.T:
        finite = np.isfinite(column)
        column[~finite] = column[finite].min() if finite.any() else 0.0
    x = x[:, np.ptp(x, axis=0) > 0]
    found: Floats = (x - x.mean(axis=0)) / x.std(axis=0)
    return found


def _fit(x: Floats, prior: Floats, known: Indices, target: Floats, asked: Indices, seed: int) -> Floats:
    """The asked ones' normal scores: the mean of two models of what the score leaves open."""
    slope, intercept = _line(prior[known], target)
    rest = target - (intercept + slope * prior[known])
    models = _gaussian_process(x[known], rest, x[asked], seed) + _trees(x[known], rest, x[asked], seed)
    return intercept + slope * prior[asked] + models / 2


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """The least-squares line; a score that ranks the wrong way round says nothing."""
    spread = float(np.var(x))
    slope = max(0.0, float(np.mean((x - x.mean()) * (y - y.mean()))) / spread) if spread > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def _gaussian_process(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    width = float(np.sqrt(x.shape[1])) if x.shape[1] else 1.0
    kernel = ConstantKernel(0.5, (1e-3, 1e2)) * Matern(width, (0.1 * width, 100 * width), nu=2.5)
    model = GaussianProcessRegressor(kernel + WhiteKernel(0.2, (1e-3, 1e1)), random_state=seed)
    some = np.random.default_rng([seed, len(x)]).permutation(len(x))[:_TUNED_ON]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a parameter at its bound is a fine answer
        model.fit(x[some], y[some])
        if len(some) < len(x):
            model = GaussianProcessRegressor(model.kernel_, optimizer=None).fit(x, y)
        mean: Floats = model.predict(asked)
    return mean


def _trees(x: Floats, y: Floats, asked: Floats, seed: int) -> Floats:
    from sklearn.ensemble import ExtraTreesRegressor

    model = ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed).fit(x, y)
    mean: Floats = model.predict(asked)
    return mean


def _unit(z: Floats, target: Floats, values: Floats) -> Floats:
    """From normal scores back to the metric: through the trained networks, and on beyond them as from the median."""
    order = np.argsort(target, kind="stable")
    known, metric = target[order], values[order]
    ends = []
    for end in (0, -1):
        span = abs(float(known[end] - np.median(known)))
        ends.append(abs(float(metric[end] - np.median(metric))) / span if span > 0 else 0.0)
    result: Floats = np.interp(z, known, metric)
    result += ends[0] * np.minimum(z - known[0], 0.0) + ends[1] * np.maximum(z - known[-1], 0.0)
    return result


def kendall_tau(a: ArrayLike, b: ArrayLike) -> float:
    """Tau-b between two orders of the same networks; 0 where one of them says nothing."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(kendalltau(x, y).statistic) if len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0
