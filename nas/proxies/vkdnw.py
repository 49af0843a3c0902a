"""How evenly the weights of a network can be told from its outputs."""

import torch

from nas.proxies.passes import Passes


def vkdnw(passes: Passes) -> float:
    """The entropy of the nine deciles of the Fisher information's eigenvalues, plus the number of trained tensors.

    The deciles are normalised to the sum 1. Source: Tybl and Neumann 2025, arXiv:2502.04975.
    """
    information = passes.information
    eigenvalues = torch.linalg.eigvalsh(information.double()).clamp(min=0)
    deciles = torch.quantile(eigenvalues, torch.arange(1, 10, dtype=torch.float64) / 10)
    shares = deciles / (deciles.sum() + 1e-10)
    return float(-(shares * (shares + 1e-10).log()).sum()) + len(information)
