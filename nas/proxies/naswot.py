"""Neural architecture search without training."""

import numpy as np

from nas.proxies.passes import Passes


def naswot(passes: Passes) -> float:
    """log |det K|; K counts, for each pair of images, the units that are both on or both off.

    The convention of the authors' code and of AZ-NAS: the codes are the signs of every activation's input, batch
    norm uses the batch. -inf if two images share their code; nan without an activation that has a
    threshold. Source: Mellor et al. 2021, arXiv:2006.04647, equation 2.
    """
    codes = passes.codes
    if not codes:
        return float("nan")
    kernel = np.zeros((len(codes[0]),) * 2)
    for code in codes:
        # b bᵀ + (1 - b)(1 - b)ᵀ = (units + s sᵀ) / 2 with signs s; exact in single precision below 2^24 units
        signs = code.float().mul_(2).sub_(1)
        kernel += (code.shape[1] + (signs @ signs.T).double().numpy()) / 2
    return float(np.linalg.slogdet(kernel)[1])
