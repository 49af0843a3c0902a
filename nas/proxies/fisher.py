"""Fisher information of the activations."""

from nas.proxies.passes import Passes


def fisher(passes: Passes) -> float:
    """Sum over weights of their channel's half mean over images of (sum over positions of a · dL/da)².

    The convention of zero-cost-nas (``foresight``): a channel counts once for each of its weights.
    Source: Theis et al. 2018, arXiv:1801.05787, equation 6; Turner et al. 2020, arXiv:1906.04113.
    """
    total = 0.0
    for weight, output, gradient in passes.activation_gradients:
        product = (output * gradient).flatten(2).sum(2) if output.ndim > 2 else output * gradient
        total += 0.5 * float(product.square().mean(0).sum()) * weight[0].numel()
    return total
