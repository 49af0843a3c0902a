"""The terms of AZ-NAS that look at the blocks of a network. Its fourth is ``macs``."""

import numpy as np
import torch

from nas.proxies.passes import Passes


def expressivity(passes: Passes) -> float:
    """Sum over blocks of the entropy of the normalised spectrum of the features' channel covariance.

    nan for a network without blocks. Source: Lee and Ham 2024, arXiv:2403.19232, equations 3 and 4.
    """
    entropies = _entropies(passes)
    return sum(entropies) if entropies else float("nan")


def progressivity(passes: Passes) -> float:
    """The least difference of the entropies of successive blocks; nan for fewer than two. Source: as above, eq. 5."""
    entropies = _entropies(passes)
    return float(np.diff(entropies).min()) if len(entropies) > 1 else float("nan")


def trainability(passes: Passes) -> float:
    """Mean over successive blocks of 2 - s - 1 / s; s is the spectral norm of how gradients pass between them.

    At most 0, for blocks that keep the norm of gradients. nan for fewer than two blocks. Source: as above, eq. 8.
    """
    norms = [float(torch.linalg.matrix_norm(matrix, 2)) for matrix in passes.signs]
    return float(np.mean([2 - s - 1 / (s + 1e-6) for s in norms])) if norms else float("nan")


def _entropies(passes: Passes) -> list[float]:
    found = []
    for values in passes.spectra:
        shares = values / values.sum().clamp(min=1e-30)
        found.append(float(-(shares * (shares + 1e-8).log()).sum()))
    return found
