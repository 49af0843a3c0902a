"""The star block: two linear maps of one input, multiplied element by element."""

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.builder import Builder, Value


def star_stem(
    b: Builder, x: Value, out_channels: int, kernel: int = 3, stride: int = 2, activation: str = "relu6"
) -> Value:
    """Convolution with a bias, batch norm, activation (Ma et al. 2024, arXiv:2403.19967)."""
    return conv_bn(b, "stem", x, out_channels, kernel, stride, activation=activation, bias=True)


def star_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 7,
    expand: float = 4.0,
    stride: int = 1,
    activation: str = "relu6",
) -> Value:
    """Depthwise convolution, two pointwise expansions of which one is activated, their product, back; residual.

    A 3 x 3 convolution with the stride comes first where the shape changes. All convolutions have a bias; batch
    norm follows all but the expansions and the last depthwise one. Source: Ma et al. 2024, arXiv:2403.19967,
    section 4.
    """
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "downsample", x, out_channels, 3, stride, bias=True)
    hidden = int(out_channels * expand)
    y = conv_bn(b, "depthwise", x, out_channels, kernel, groups=out_channels, bias=True)
    active = activate(b, "active", b.conv("active.conv", y, hidden, 1, bias=True), activation)
    linear = b.conv("linear.conv", y, hidden, 1, bias=True)
    y = conv_bn(b, "project", b.op("star", "mul", active, linear), out_channels, 1, bias=True)
    y = b.conv("spread.conv", y, out_channels, kernel, groups=out_channels, bias=True)
    return b.op("add", "add", x, y)
