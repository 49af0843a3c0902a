"""Gradient signal preservation."""

from nas.proxies.passes import Passes


def grasp(passes: Passes) -> float:
    """Sum over convolution and linear weights of -w · (H g), H the Hessian of the loss and g its gradient.

    The convention of zero-cost-nas (``foresight``). Source: Wang et al. 2020, arXiv:2002.07376, equation 8.
    """
    return -sum(float((flow.weight * flow.gradient).sum()) for flow in passes.hessian)
