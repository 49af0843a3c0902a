"""Synaptic flow."""

import math

from nas.proxies.passes import Passes


def synflow(passes: Passes) -> float:
    """log of sum |w · dR/dw| over convolution and linear weights; R is the output of the linearised network.

    The convention of zero-cost-nas (``foresight``): batch norm bypassed, one all-ones input, norms and
    biases not summed. The logarithm, because the flow spans hundreds of orders of magnitude; -inf if
    nothing flows. Source: Tanaka et al. 2020, arXiv:2006.05467, equation 2 and algorithm 1.
    """
    total = sum(float((flow.weight * flow.gradient).abs().sum()) for flow in passes.synflow)
    return math.log(total) if total > 0 else -math.inf
