"""The recipe as pure functions: what happens at a step depends on the step alone, so rungs continue exactly."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from nas.spec import Training

WARM_UP_SHARE = 0.1
FINAL_SHARE = 0.01
"""Of the steps, and of the peak learning rate."""


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over a tenth of the steps, then a cosine to a hundredth of the peak."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * share)) / 2)


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """A last batch of one sample is left out: batch norm has no variance of it."""
    return samples // batch_size + (samples % batch_size > 1)


def epoch_batches(samples: int, batch_size: int, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each batch of the epoch the sample indices (n,), and (n, 4) draws in -1..1 for augmentation."""
    rng = np.random.default_rng([seed, epoch])
    order = torch.from_numpy(rng.permutation(samples))
    draws = torch.from_numpy(rng.uniform(-1, 1, (samples, 4)).astype(np.float32))
    for step in range(steps_per_epoch(samples, batch_size)):
        span = slice(step * batch_size, (step + 1) * batch_size)
        yield order[span], draws[span]


def make_optimizer(network: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); no decay on norms and biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
