"""Statistics of batch norm, estimated again for the weights as they are."""

import torch
from torch import Tensor, nn

_Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def recalibrate(network: nn.Module, images: Tensor, batch_size: int) -> None:
    """Sets every running mean and variance to the average over batches of ``images``; ends in eval mode.

    The moving average of training lags behind weights that still move fast, which hides what a network
    has learned in a few epochs. Weights stay. Source: Wu and Johnson 2021, arXiv:2105.07576, section 3.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, _Norm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
        norm.train()
    try:
        with torch.no_grad():
            # equal weights want equal batches, so what is left over stays out
            for start in range(0, max(1, len(images) - batch_size + 1), batch_size):
                network(images[start : start + batch_size])
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()
