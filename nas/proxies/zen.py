"""How far a small change of the input moves the features of a network with Gaussian weights."""

import math

from nas.proxies.passes import Passes


def zen(passes: Passes) -> float:
    """log of the mean over images of |f(x) - f(x + 0.01 e)|₁ + sum over batch norms of log sqrt(mean variance).

    f: the features in front of the pooling; x and e: standard normal noise. The second term undoes what batch norm
    scales away. nan for a network that ends without features, -inf where they do not move.
    Source: Lin et al. 2021, arXiv:2102.01063, algorithm 1.
    """
    features, moved, variances = passes.perturbed
    if features is None or moved is None:
        return math.nan
    distance = float((features - moved).abs().flatten(1).sum(1).mean())
    if min([distance, *variances]) <= 0:
        return -math.inf
    return math.log(distance) + 0.5 * sum(math.log(variance) for variance in variances)
