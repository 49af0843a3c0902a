"""Inverted bottleneck whose spatial layer is a learned shift."""

from search_spaces.blocks.conv import conv_bn
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def shift_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    expand: float = 6.0,
    stride: int = 1,
    reach: int = 1,
    activation: str = "relu6",
) -> Value:
    """Pointwise expansion, shift of each channel by a learned whole number of pixels, pointwise projection.

    The shift goes up to ``reach`` pixels along each axis and costs two parameters a channel; the projection has
    the stride. Identity added where the shape stays. Deploys to a depthwise convolution with one tap a channel.
    Source: Chen et al. 2019, "All You Need is a Few Shifts", arXiv:1903.05285, sections 3.2 and 4.
    """
    y = conv_bn(b, "expand", x, make_divisible(x.shape[0] * expand), 1, activation=activation)
    y = b.op("shift", "sparse_shift", y, reach=reach)
    y = conv_bn(b, "project", y, out_channels, 1, stride)
    return b.op("add", "add", x, y) if y.shape == x.shape and stride == 1 else y
