"""Sample-wise activation patterns."""

import torch

from nas.proxies.passes import Passes

_MOST_IMAGES = 62  # a pattern is a 64-bit number


def swap(passes: Passes) -> float:
    """How many different patterns of on and off over the batch the units of the network have.

    The first 62 images count. nan without an activation that has a threshold.
    Source: Peng et al. 2024, arXiv:2403.04161, definition 3.2.
    """
    if not passes.codes:
        return float("nan")
    patterns = []
    for code in passes.codes:
        bits = 2 ** torch.arange(min(len(code), _MOST_IMAGES), dtype=torch.int64)
        patterns.append((code[:_MOST_IMAGES].to(torch.int64) * bits[:, None]).sum(0))
    return float(len(torch.unique(torch.cat(patterns))))
