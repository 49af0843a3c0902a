"""Correlation of the input Jacobian."""

import numpy as np

from nas.proxies.passes import Passes

K = 1e-5


def jacov(passes: Passes) -> float:
    """-sum[log(v + k) + 1 / (v + k)] over the eigenvalues v of the correlation of the images' input gradients.

    k = 1e-5, in double precision; depends on the batch size. nan if an image has no gradient or one value
    everywhere. The convention of zero-cost-nas (``foresight``) and AZ-NAS, which agree.
    Source: Mellor et al. 2020, arXiv:2006.04647 version 1, equation 2.
    """
    jacobian = passes.jacobian.double().numpy()
    spread = jacobian.std(axis=1)
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        return float("nan")
    # a correlation matrix has no negative eigenvalues but by rounding
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobian)).clip(min=0)
    return float(-(np.log(eigenvalues + K) + 1 / (eigenvalues + K)).sum())
