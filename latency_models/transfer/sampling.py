"""Which networks to time on a device of which nothing is known yet."""

from __future__ import annotations

import numpy as np

from latency_models.transfer.features import Features, Floats, Ints
from latency_models.transfer.mixture import CHOICE_RATIOS, CHOICE_RATIOS_ALONE, CONSTANT, RESIDUAL_RATIOS

CANDIDATES = 3000
NOISE = 0.35
"""Relative to the variance of the latency: more than most devices have, since the noisy ones need the choice most."""
_EXPLAINED = 0.999


def spread_samples(features: Features, k: int, rng: np.random.Generator) -> Ints:
    """k networks after which the mean variance over all is least, one after the other (V-optimal design, greedy)."""
    n = len(features.parts[0])
    candidates = np.sort(rng.choice(n, size=min(n, max(CANDIDATES, k)), replace=False))
    basis = _basis([part[candidates] for part in features.parts], _scales(features))
    covariance = np.eye(basis.shape[1])
    moment = basis.T @ basis / len(basis)
    free = np.ones(len(candidates), dtype=bool)
    chosen = []
    for _ in range(k):
        gain = basis @ covariance
        variance = np.einsum("ij,ij->i", gain, basis) + NOISE
        score = np.where(free, np.einsum("ij,ij->i", gain @ moment, gain) / variance, -np.inf)
        best = int(np.argmax(score))
        free[best] = False
        chosen.append(best)
        covariance -= np.outer(gain[best], gain[best]) / variance[best]
    return candidates[chosen]


def _scales(features: Features) -> Floats:
    """One variance for each part: the geometric means of the members'."""
    if len(features.kept):
        ratios = (1.0, np.sqrt(np.prod(RESIDUAL_RATIOS)), np.sqrt(np.prod(CHOICE_RATIOS)))
    else:
        ratios = (0.0, 0.0, np.sqrt(np.prod(CHOICE_RATIOS_ALONE)))
    return np.array(ratios)


def _basis(parts: list[Floats], scales: Floats) -> Floats:
    """The features with unit prior, (candidates, columns): the level, and the principal directions of the rest."""
    scaled = np.concatenate([part * np.sqrt(scale) for part, scale in zip(parts, scales, strict=True)], axis=1)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    share = np.cumsum(values[::-1]) / max(float(values.sum()), np.finfo(np.float64).tiny)
    count = int(np.searchsorted(share, _EXPLAINED)) + 1
    level = np.full((len(scaled), 1), np.sqrt(CONSTANT))
    return np.concatenate([level, scaled @ vectors[:, ::-1][:, :count]], axis=1)
