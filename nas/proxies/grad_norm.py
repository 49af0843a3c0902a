"""Norm of the gradients."""

from nas.proxies.passes import Passes


def grad_norm(passes: Passes) -> float:
    """Sum over convolution and linear layers of the Euclidean norm of the weight's gradient.

    The convention of zero-cost-nas (``foresight``): layers summed, norms and biases left out; AZ-NAS takes
    other layers. Source: Abdelfattah et al. 2021, arXiv:2101.08134, section 3.2.
    """
    return sum(float(flow.gradient.norm()) for flow in passes.gradients)
