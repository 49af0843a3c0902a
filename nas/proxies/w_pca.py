"""How many directions the hidden layers of feed-forward blocks span."""

import torch

from nas.proxies.passes import Passes

SHARE = 0.99
"""Of the variance, that the counted directions must explain."""


def w_pca(passes: Passes) -> float:
    """Parameters times the sum over feed-forward blocks of the principal components with .99 of the variance.

    Of the first layer's outputs, over batch and positions. nan for a network without such blocks.
    Source: Wang et al. 2025, "W-PCA" (ICLR).
    """
    if not passes.hidden:
        return float("nan")
    return float(passes.graph.params) * sum(components(covariance) for covariance in passes.hidden)


def components(covariance: torch.Tensor) -> int:
    """The least number of principal components that explain the share of the variance; 0 where there is none."""
    values = torch.linalg.eigvalsh(covariance.double()).clamp(min=0).flip(0)
    total = values.sum()
    if total <= 0:
        return 0
    return int((values.cumsum(0) < SHARE * total).sum()) + 1
