"""Inverse coefficient of variation of the gradients."""

import math

import torch

from nas.proxies.passes import Passes


def zico(passes: Passes) -> float:
    """Sum over layers of log of the sum over weights of mean |g| / std g, over the two halves of the batch.

    A weight whose gradients are equal has no part, a layer without any other neither. The authors' convention, which
    takes the deviation of g and not of |g|. Source: Li et al. 2023, arXiv:2301.11300, equation 17.
    """
    total = 0.0
    for pair in passes.halves:
        gradients = torch.stack(pair)
        deviation = gradients.std(0, correction=0)
        varies = deviation > 0
        ratio = gradients.abs().mean(0)[varies] / deviation[varies]
        if (layer := float(ratio.sum())) > 0:
            total += math.log(layer)
    return total
