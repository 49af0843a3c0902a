"""The linear bottleneck of ReXNet: an inverted residual whose width may grow under its residual."""

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def normed_squeeze_excite(b: Builder, x: Value, reduced: int) -> Value:
    """Squeeze-and-excitation with batch norm before its ReLU (Han et al. 2021, arXiv:2007.00992)."""
    y = b.op("pool", "global_avg_pool", x)
    y = conv_bn(b, "reduce", y, reduced, 1, activation="relu", bias=True)
    y = b.conv("expand.conv", y, x.shape[0], 1, bias=True)
    return b.op("mul", "mul", x, b.op("sigmoid", "sigmoid", y))


def rexnet_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    expand: float = 6.0,
    stride: int = 1,
    se_ratio: float = 0.0,
    activation: str = "silu",
    depthwise_activation: str = "relu6",
    divisor: int = 1,
) -> Value:
    """Expansion, depthwise convolution, projection; the input is added to the first channels of the output.

    There is a residual at stride 1 where the width does not shrink. ``expand`` 1 leaves the expansion out;
    ``se_ratio`` 0 leaves squeeze-and-excitation out, which precedes the second activation. ``divisor`` is what the
    inner widths are rounded to. Source: Han et al. 2021, ReXNet, arXiv:2007.00992.
    """
    in_channels = x.shape[0]
    hidden = in_channels
    y = x
    if expand != 1:
        hidden = make_divisible(round(in_channels * expand), divisor)
        y = conv_bn(b, "expand", y, hidden, 1, activation=activation)
    y = conv_bn(b, "depthwise", y, hidden, kernel, stride, hidden)
    if se_ratio > 0:
        y = b.block("squeeze_excite", normed_squeeze_excite, y, make_divisible(int(hidden * se_ratio), divisor))
    y = activate(b, "depthwise", y, depthwise_activation)
    y = conv_bn(b, "project", y, out_channels, 1)
    if stride != 1 or in_channels > out_channels:
        return y
    if in_channels == out_channels:
        return b.op("add", "add", y, x)
    first = b.op("add", "add", b.slice("residual", y, 0, in_channels), x)
    return b.op("concat", "concat", first, b.slice("grown", y, in_channels, out_channels))
