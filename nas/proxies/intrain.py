"""How many directions the channels of every layer span."""

import math

from nas.proxies.passes import Passes


def intrain(passes: Passes) -> float:
    """Sum over convolutions of log[(tr C)² / tr C²], C the covariance of the output's channels.

    (tr C)² / tr C² is the participation ratio, an effective number of dimensions. -inf where an output is constant.
    """
    total = 0.0
    for covariance in passes.covariances:
        squares = float((covariance * covariance).sum())
        if squares <= 0:
            return -math.inf
        total += math.log(float(covariance.trace()) ** 2 / squares)
    return total
