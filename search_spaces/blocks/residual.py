"""Residual blocks of ResNet (He et al. 2016)."""

from search_spaces.blocks.conv import conv_bn
from search_spaces.builder import Builder, Value


def bottleneck_residual(
    b: Builder, x: Value, out_channels: int, kernel: int, stride: int, reduction: int, activation: str
) -> Value:
    """Pointwise, k x k with the stride, pointwise; activation after the sum (ResNet v1.5: the stride on the k x k).

    The inner width is ``out_channels / reduction``. Where the shape changes the identity is a strided
    pointwise convolution with batch norm. Source: He et al. 2016, figure 5 right.
    """
    inner = out_channels // reduction
    y = conv_bn(b, "reduce", x, inner, 1, activation=activation)
    y = conv_bn(b, "spatial", y, inner, kernel, stride, activation=activation)
    y = conv_bn(b, "expand", y, out_channels, 1)
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "shortcut", x, out_channels, 1, stride)
    return b.op(activation, activation, b.op("add", "add", x, y))


def resnet_stem(b: Builder, x: Value, out_channels: int, kernel: int, stride: int, activation: str) -> Value:
    """Strided convolution, batch norm, activation, and a 3 x 3 max pool of stride 2 (He et al. 2016, table 1)."""
    x = conv_bn(b, "stem", x, out_channels, kernel, stride, activation=activation)
    return b.pool("max_pool", "max_pool", x, 3, 2, 1)


def reduction_residual(b: Builder, x: Value, out_channels: int) -> Value:
    """The block between the stages of NAS-Bench-201 (Dong and Yang 2020, section 2.1): halves the size.

    Two pre-activated 3 x 3 convolutions, the first with stride 2; the shortcut is a 2 x 2 average pool
    and a pointwise convolution.
    """
    y = b.block("first", relu_conv_bn, x, out_channels, 3, 2)
    y = b.block("second", relu_conv_bn, y, out_channels, 3, 1)
    shortcut = b.pool("shortcut.pool", "avg_pool", x, 2, 2)
    shortcut = b.conv("shortcut.conv", shortcut, out_channels, 1)
    return b.op("add", "add", shortcut, y)


def relu_conv_bn(b: Builder, x: Value, out_channels: int, kernel: int, stride: int) -> Value:
    """ReLU, convolution, batch norm: the operation of cell spaces."""
    x = b.op("relu", "relu", x)
    x = b.conv("conv", x, out_channels, kernel, stride)
    return b.batch_norm("bn", x)
