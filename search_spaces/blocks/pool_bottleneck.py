"""Bottlenecks whose spatial operation has no parameters (Han et al. 2022, arXiv:2202.02777)."""

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.builder import Builder, Value


def pool_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 1,
    reduction: int = 4,
    strided_conv: bool = False,
    activation: str = "relu",
) -> Value:
    """Pointwise convolution, 3 x 3 max pool with the stride, pointwise convolution, identity, activation.

    The inner width is ``out_channels / reduction``. With ``strided_conv`` a layer that has a stride averages over
    it and has a 3 x 3 convolution in place of the max pool. Where the shape changes the identity is a strided
    pointwise convolution. Source: Han et al. 2022, section 3.
    """
    inner = out_channels // reduction
    y = conv_bn(b, "reduce", x, inner, 1, activation=activation)
    if strided_conv and stride != 1:
        y = b.pool("mean", "avg_pool", y, stride, stride, ceil_mode=True)
        y = conv_bn(b, "spatial", y, inner, 3, activation=activation)
    else:
        y = b.pool("max_pool", "max_pool", y, 3, stride, 1)
    y = conv_bn(b, "expand", y, out_channels, 1)
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "shortcut", x, out_channels, 1, stride)
    return activate(b, "out", b.op("add", "add", y, x), activation)
