"""Gaussian processes on the features with Student noise, a grid of them, weighed by how well they explain the samples.

No hyper-parameter is fitted: with ten samples its maximum is an accident. Every combination of ``AMPLITUDES`` and the
ratios below is a member, and its weight is its marginal likelihood (Rasmussen and Williams 2006, section 5.2).
Noise has Student's distribution by a variational scale for each sample (Tipping and Lawrence 2005): a measurement
that was disturbed loses its say.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from latency_models.transfer.features import Features, Floats, Ints

AMPLITUDES = (0.004, 0.02, 0.1, 0.5)
"""Variance of the latency over its mean, squared: from networks that hardly differ to a factor of five and more."""
RESIDUAL_RATIOS = (0.4, 0.02)
CHOICE_RATIOS = (0.02, 0.0015)
CHOICE_RATIOS_ALONE = (1.0, 0.2)
"""Where no device is known, the choices carry all of the variance."""
NOISE_RATIOS = (0.6, 0.08, 0.011, 0.0015)
CONSTANT = 100.0
"""Prior variance of the level, which is as good as unknown."""
FREEDOM = 4.0
_ITERATIONS = 10
_LEAST_WEIGHT = 1e-4


class Mixture(NamedTuple):
    """Members as arrays, first axis the member. Latencies here are over the mean of the samples.

    ``weights`` (m); ``scales`` (m, parts), variance of each part; ``noise`` (m); ``duals`` (m, k); ``inverse``
    (m, k, k) of the samples' covariance with each sample's own noise, which is ``own_noise`` (m, k).
    """

    weights: Floats
    scales: Floats
    noise: Floats
    duals: Floats
    inverse: Floats
    own_noise: Floats
    samples: tuple[Floats, ...]

    def predict(self, features: Features, indices: Ints) -> tuple[Floats, Floats]:
        """Mean and standard deviation of one measurement of each of these networks."""
        rows = features.rows(indices)
        cross = [a @ b.T for a, b in zip(rows, self.samples, strict=True)]
        own = np.stack([np.einsum("ij,ij->i", part, part) for part in rows])
        means, variances = [], []
        for scale, noise, dual, inverse in zip(self.scales, self.noise, self.duals, self.inverse, strict=True):
            k = CONSTANT + sum(s * c for s, c in zip(scale, cross, strict=True))
            means.append(k @ dual)
            variances.append(CONSTANT + scale @ own - np.einsum("ij,ij->i", k @ inverse, k) + noise)
        return _pool(self.weights[:, None], np.array(means), np.array(variances))

    def leave_one_out(self, values: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation at each sample as the others predict it (Rasmussen and Williams, 5.4.2)."""
        precision = np.einsum("mii->mi", self.inverse)
        means = values - self.duals / precision
        variances = np.maximum(1 / precision - self.own_noise, 0) + self.noise[:, None]
        # the sample left out takes back what it said for each member
        log_weights = np.log(self.weights)[:, None] + 0.5 * ((values - means) ** 2 / variances + np.log(variances))
        weights = np.exp(log_weights - log_weights.max(axis=0))
        return _pool(weights / weights.sum(axis=0), means, variances)


def fit_mixture(features: Features, indices: Ints, values: Floats) -> Mixture:
    """The members, each conditioned on ``values`` (k), the samples' latencies over their mean, less 1."""
    samples = features.rows(indices)
    scales, noise = members(features)
    covariance = CONSTANT + np.tensordot(scales, np.stack([part @ part.T for part in samples]), axes=1)
    own_noise, inverse, evidence = _student(covariance, noise, values)
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    keep = weights > _LEAST_WEIGHT
    return Mixture(
        weights[keep] / weights[keep].sum(), scales[keep], noise[keep], (inverse @ values)[keep], inverse[keep],
        own_noise[keep], samples,
    )  # fmt: skip


def members(features: Features) -> tuple[Floats, Floats]:
    """Variances of the parts (m, parts) and of the noise (m) of every member."""
    if len(features.kept):
        grid = product(AMPLITUDES, RESIDUAL_RATIOS, CHOICE_RATIOS, NOISE_RATIOS)
        rows = [(a, a * residual, a * choice, a * noise) for a, residual, choice, noise in grid]
    else:
        rows = [(0.0, 0.0, a * c, a * noise) for a, c, noise in product(AMPLITUDES, CHOICE_RATIOS_ALONE, NOISE_RATIOS)]
    table = np.array(rows)
    return table[:, :-1], table[:, -1]


def _student(covariance: Floats, noise: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Each sample's own noise (m, k), the inverse covariance (m, k, k), and a lower bound on the log evidence (m),
    up to a constant."""
    trust = np.ones((len(noise), len(values)))
    for iteration in range(_ITERATIONS):
        own: Floats = noise[:, None] / trust
        inverse = np.linalg.inv(covariance + own[:, :, None] * np.eye(len(values))).astype(np.float64)
        if iteration == _ITERATIONS - 1:
            break
        residual = own * (inverse @ values)
        variance = np.maximum(own - own**2 * np.einsum("mii->mi", inverse), 0)
        trust = (FREEDOM + 1) / (FREEDOM + (residual**2 + variance) / noise[:, None])
    # what the gamma prior on each trust adds to the bound, without its constants
    divergence = FREEDOM / 2 * (trust - np.log(trust)).sum(axis=1)
    gaussian = 0.5 * np.linalg.slogdet(inverse)[1] - 0.5 * np.einsum("i,mij,j->m", values, inverse, values)
    evidence: Floats = gaussian - divergence
    return own, inverse, evidence


def _pool(weights: Floats, means: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a mixture along the first axis."""
    mean = (weights * means).sum(axis=0)
    variance = (weights * (np.maximum(variances, 0) + (means - mean) ** 2)).sum(axis=0)
    return mean, np.sqrt(variance)
