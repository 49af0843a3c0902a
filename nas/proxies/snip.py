"""Single-shot network pruning."""

from nas.proxies.passes import Passes


def snip(passes: Passes) -> float:
    """Sum of |dL/dmask| = |w · dL/dw| over convolution and linear weights, with a mask of ones on each.

    The convention of zero-cost-nas (``foresight``). Source: Lee et al. 2019, arXiv:1810.02340, equation 6,
    summed as in Abdelfattah et al. 2021.
    """
    return sum(float((flow.weight * flow.gradient).abs().sum()) for flow in passes.gradients)
