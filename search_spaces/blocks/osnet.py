"""Blocks of OSNet (Zhou et al. 2019): streams of different depth, joined by one gate that they share."""

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.blocks.norm import NORMS
from search_spaces.blocks.squeeze_excite import squeeze_excite
from search_spaces.builder import Builder, Value


def omni_scale(
    b: Builder,
    x: Value,
    out_channels: int,
    reduction: int = 4,
    streams: int = 4,
    norm: str = "batch",
    sum_norm: str = "none",
    activation: str = "relu",
) -> Value:
    """A bottleneck whose middle is ``streams`` chains of 1, 2, 3, ... light convolutions, gated and summed.

    One gate (squeeze-and-excitation to a sixteenth of the channels) has the same weights for all streams.
    ``norm`` follows the last pointwise convolution, ``sum_norm`` the sum with the identity, which is a pointwise
    convolution where the channels change. Sources: Zhou et al. 2019, sections 3.2 and 3.3; the norms: Zhou et al.
    2019, arXiv:1910.06827.
    """
    inner = out_channels // reduction
    entry = conv_bn(b, "reduce", x, inner, 1, activation=activation)
    gated = []
    for stream in range(1, streams + 1):
        y = entry
        for i in range(1, stream + 1):
            y = b.block(f"stream{stream}.light{i}", light_conv, y, inner, activation)
        reduced = max(1, inner // 16)
        gated.append(b.block(f"gate{stream}", squeeze_excite, y, reduced, "relu", "sigmoid", weights="gate"))
    y = b.op("sum", "add", *gated) if streams > 1 else gated[0]
    y = conv_bn(b, "expand", y, out_channels, 1, norm=norm)
    if x.shape[0] != out_channels:
        x = conv_bn(b, "shortcut", x, out_channels, 1)
    y = NORMS[sum_norm](b, "out", b.op("add", "add", y, x), 1e-5)
    return activate(b, "out", y, activation)


def light_conv(b: Builder, x: Value, out_channels: int, activation: str = "relu") -> Value:
    """Pointwise then 3 x 3 depthwise convolution, then batch norm and activation (Zhou et al. 2019, section 3.1)."""
    x = b.conv("pointwise", x, out_channels, 1)
    return conv_bn(b, "depthwise", x, out_channels, 3, groups=out_channels, activation=activation)


def pooled_transition(b: Builder, x: Value, out_channels: int, stride: int = 2, activation: str = "relu") -> Value:
    """Pointwise convolution, batch norm, activation, average pool: between stages (Zhou et al. 2019, table 1)."""
    x = conv_bn(b, "conv", x, out_channels, 1, activation=activation)
    return x if stride == 1 else b.pool("pool", "avg_pool", x, stride, stride)


def dense_head(b: Builder, x: Value, out_channels: int, activation: str = "relu") -> Value:
    """Global average pooling, a linear layer, batch norm, activation: a feature vector (Zhou et al. 2019, table 1)."""
    x = b.op("flat", "flatten", b.op("pool", "global_avg_pool", x))
    return activate(b, "out", b.batch_norm("bn", b.linear("fc", x, out_channels)), activation)
