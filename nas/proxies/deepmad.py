"""What DeepMAD computes from a convolutional network's shapes alone.

Source: Shen et al. 2023, arXiv:2303.02165, section 3.
"""

from itertools import groupby
from math import exp, log, prod

from nas.proxies.passes import GraphOnly, Passes
from search_spaces.graph import Layer

LAST_STAGE_WEIGHT = 8
"""What the last stage counts; the others count 1."""


def entropy(passes: Passes | GraphOnly) -> float:
    """Sum over stages of the entropy of their features, the last one 8 times.

    A stage is what is computed at one resolution. Its features' entropy is log(channels x positions) times the sum of
    log sqrt(w) over all layers so far, w = k² x input channels a group. The last layer, linear, is in no stage. nan for
    a network without convolutions.
    """
    found = _stages(passes)
    if not found:
        return float("nan")
    total, so_far = 0.0, 0.0
    for place, stage in enumerate(found, 1):
        so_far += sum(0.5 * log(_width(layer)) for layer in stage)
        last = stage[-1]
        weight = LAST_STAGE_WEIGHT if place == len(found) else 1
        total += weight * (log(last.out_channels) + log(prod(last.out_size))) * so_far
    return total


def effectiveness(passes: Passes | GraphOnly) -> float:
    """The largest over the stages of depth so far by the geometric mean of w so far.

    To be bounded rather than to be great: a network is hard to train where it is deep and narrow. nan as above.
    """
    layers, logs = 0, 0.0
    found = []
    for stage in _stages(passes):
        layers += len(stage)
        logs += sum(log(_width(layer)) for layer in stage)
        found.append(layers * exp(-logs / layers))
    return max(found, default=float("nan"))


def _width(layer: Layer) -> float:
    return prod(layer.kernel) * layer.in_channels / layer.groups


def _stages(passes: Passes | GraphOnly) -> list[list[Layer]]:
    convolutions = [layer for layer in passes.graph.layers() if layer.out_size and prod(layer.out_size) > 1]
    return [list(group) for _, group in groupby(convolutions, key=lambda layer: layer.out_size)]
