"""Parallel convolutions that deployment makes one: the blocks of RepVGG and MobileOne."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.builder import Builder, Value


def parallel_convs(
    b: Builder, name: str, x: Value, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, branches: int = 1
) -> Value:
    """The sum of k x k convolutions, one pointwise convolution and the input, each with batch norm.

    ``branches`` is the number of k x k convolutions; the pointwise one is left out where k is 1, the input where
    the shape changes. A part of a block. Sources: Ding et al. 2021, RepVGG, figure 4; Vasu et al. 2023,
    MobileOne, figure 3.
    """
    terms = []
    if stride == 1 and x.shape[0] == out_channels:
        terms.append(b.batch_norm(f"{name}.identity", x))
    for number in range(1, branches + 1):
        terms.append(conv_bn(b, f"{name}.branch{number}", x, out_channels, kernel, stride, groups))
    if kernel > 1:
        terms.append(conv_bn(b, f"{name}.pointwise", x, out_channels, 1, stride, groups))
    return b.op(f"{name}.add", "add", *terms) if len(terms) > 1 else terms[0]


def repvgg_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    branches: int = 1,
    attention: str = "none",
    activation: str = "relu",
) -> Value:
    """Parallel convolutions, attention, activation (Ding et al. 2021, RepVGG, section 3.2); deploys to one k x k."""
    y = parallel_convs(b, "conv", x, out_channels, kernel, stride, groups, branches)
    return activate(b, "conv", ATTENTIONS[attention](b, y, x.shape[0]), activation)


def mobileone_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    branches: int = 1,
    attention: str = "none",
    activation: str = "relu",
) -> Value:
    """A depthwise and a pointwise layer, each of parallel convolutions, attention and activation.

    ``branches`` is the number of convolutions of the layer's kernel in parallel. Deploys to a depthwise separable
    convolution. Source: Vasu et al. 2023, MobileOne, arXiv:2206.04040, section 3.2.
    """
    channels = x.shape[0]
    x = b.block("depthwise", repvgg_block, x, channels, kernel, stride, channels, branches, attention, activation)
    value: Value = b.block("pointwise", repvgg_block, x, out_channels, 1, 1, 1, branches, attention, activation)
    return value
