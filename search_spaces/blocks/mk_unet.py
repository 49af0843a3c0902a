"""Multi-kernel inverted residual of MK-UNet (Rahman and Marculescu 2025, arXiv:2509.18493)."""

from math import gcd

from search_spaces.blocks.conv import channel_shuffle, conv_bn
from search_spaces.builder import Builder, Value


def multi_kernel_depthwise(b: Builder, x: Value, kernel: int = 5, stride: int = 1, activation: str = "relu6") -> Value:
    """The sum of depthwise convolutions with every odd kernel up to ``kernel``, each with batch norm and activation.

    Source: Rahman and Marculescu 2025, section 3 (MKDC).
    """
    channels = x.shape[0]
    branches = [
        conv_bn(b, f"depthwise{size}", x, channels, size, stride, channels, activation)
        for size in range(1, kernel + 1, 2)
    ]
    return b.op("sum", "add", *branches) if len(branches) > 1 else branches[0]


def multi_kernel_inverted_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 5,
    stride: int = 1,
    expand: float = 2,
    activation: str = "relu6",
) -> Value:
    """Pointwise expansion, multi-kernel depthwise convolution, channel shuffle, linear projection, identity.

    The shuffle has as many groups as the two widths share; with stride 1 the input is added, through a pointwise
    convolution without norm where the channels change. Source: Rahman and Marculescu 2025, section 3 (MKIR).
    """
    in_channels = x.shape[0]
    hidden = int(in_channels * expand)
    y = conv_bn(b, "expand", x, hidden, 1, activation=activation)
    y = b.block("depthwise", multi_kernel_depthwise, y, kernel, stride, activation)
    y = channel_shuffle(b, "shuffle", y, gcd(hidden, out_channels))
    y = conv_bn(b, "project", y, out_channels, 1)
    if stride != 1:
        return y
    if in_channels != out_channels:
        x = b.conv("shortcut", x, out_channels, 1)
    return b.op("add", "add", x, y)
