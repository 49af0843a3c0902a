"""Sample-wise activation patterns."""

import torch

from nas.proxies.passes import Passes

_MOST_IMAGES = 62  # a pattern is a 64-bit number
_LISTED = 20  # images, up to which all patterns are listed and ticked off


def swap(passes: Passes) -> float:
    """How many different patterns of on and off over the batch the units of the network have.

    The first 62 images count. nan without an activation that has a threshold.
    Source: Peng et al. 2024, arXiv:2403.04161, definition 3.2.
    """
    if not passes.codes:
        return float("nan")
    images = min(len(passes.codes[0]), _MOST_IMAGES)
    if images > _LISTED:
        bits = 2 ** torch.arange(images, dtype=torch.int64)
        patterns = [(code[:images].to(torch.int64) * bits[:, None]).sum(0) for code in passes.codes]
        return float(len(torch.unique(torch.cat(patterns))))
    powers = 2.0 ** torch.arange(images)  # their sums are exact in single precision
    seen = torch.zeros(2**images, dtype=torch.bool)
    for code in passes.codes:
        seen[(powers @ code[:images].float()).long()] = True
    return float(seen.sum())
