"""The layer of MobileNetV1, with attention where PP-LCNet has it."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import conv_bn
from search_spaces.builder import Builder, Value


def depthwise_separable(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    activation: str,
    attention: str = "none",
    norm: str = "batch",
    downsample: str = "strided",
) -> Value:
    """Depthwise then pointwise convolution, each with norm and activation (Howard et al. 2017, MobileNets, figure 3).

    Attention (of ``ATTENTIONS``) comes between them (Cui et al. 2021, PP-LCNet, arXiv:2109.15099, section 3).
    ``downsample`` (of ``DOWNSAMPLES``) takes the stride of the depthwise convolution, before the attention.
    """
    in_channels = x.shape[0]
    x = conv_bn(
        *(b, "depthwise", x, in_channels, kernel, stride, in_channels, activation), norm=norm, downsample=downsample
    )
    x = ATTENTIONS[attention](b, x, in_channels)
    return conv_bn(b, "pointwise", x, out_channels, 1, activation=activation, norm=norm)
