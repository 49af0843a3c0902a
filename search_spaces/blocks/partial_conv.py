"""Partial convolution: a dense convolution on the first channels, the others as they are."""

from search_spaces.blocks.conv import conv_bn
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def patch_conv_bn(b: Builder, x: Value, out_channels: int, stride: int = 4) -> Value:
    """A convolution over patches that tile the input, and batch norm (Chen et al. 2023, arXiv:2303.03667)."""
    return conv_bn(b, "patches", x, out_channels, stride, stride, padding=(0,) * (len(x.shape) - 1))


def partial_conv(b: Builder, x: Value, kernel: int = 3, divisions: int = 4) -> Value:
    """A convolution of the first ``1 / divisions`` of the channels (Chen et al. 2023, section 3.2)."""
    channels = x.shape[0]
    mixed = channels // divisions
    if mixed < 1:
        raise InvalidGraph(f"{channels} channels in {divisions} divisions", hint="use fewer divisions")
    if mixed == channels:
        return b.conv("conv", x, mixed, kernel)
    first = b.conv("conv", b.slice("mixed", x, 0, mixed), mixed, kernel)
    return b.op("concat", "concat", first, b.slice("kept", x, mixed, channels))


def partial_conv_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    mlp_ratio: float = 2.0,
    stride: int = 1,
    divisions: int = 4,
    activation: str = "relu",
) -> Value:
    """Partial convolution, pointwise expansion with batch norm and activation, pointwise back; residual around all.

    A convolution over patches comes first where the shape changes. Source: Chen et al. 2023, FasterNet, section 3.4.
    """
    if stride != 1 or x.shape[0] != out_channels:
        x = b.block("merge", patch_conv_bn, x, out_channels, stride)
    y = b.block("partial", partial_conv, x, kernel, divisions)
    y = conv_bn(b, "expand", y, int(out_channels * mlp_ratio), 1, activation=activation)
    y = b.conv("project.conv", y, out_channels, 1)
    return b.op("add", "add", x, y)
