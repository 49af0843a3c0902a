"""Ghost modules and bottlenecks of GhostNet (2020), GhostNetV2 (2022) and GhostNetV3 (2024)."""

from collections.abc import Callable, Mapping
from math import ceil

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.blocks.squeeze_excite import squeeze_excite
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def _se(b: Builder, x: Value, in_channels: int) -> Value:
    """A quarter of the channels of ``x`` to a multiple of 4, hard sigmoid (Han et al. 2020, section 3.2)."""
    reduced = make_divisible(x.shape[0] * 0.25, 4)
    value: Value = b.block("squeeze_excite", squeeze_excite, x, reduced, "relu", "hard_sigmoid")
    return value


GHOST_ATTENTIONS: Mapping[str, Callable[[Builder, Value, int], Value]] = {**ATTENTIONS, "se": _se}
"""``ATTENTIONS``, with the rounding of GhostNet in "se"."""


def ghost_module(
    b: Builder,
    x: Value,
    out_channels: int,
    activation: str = "relu",
    ratio: int = 2,
    cheap_kernel: int = 3,
    branches: int = 1,
) -> Value:
    """A pointwise convolution to ``1 / ratio`` of the channels; a cheap depthwise one makes the others from them.

    Sources: Han et al. 2020, arXiv:1911.11907, section 3.1; ``branches`` above 1: Liu et al. 2024, GhostNetV3,
    arXiv:2404.11202, section 3.1.
    """
    primary = ceil(out_channels / ratio)
    made = _branched(b, "primary", x, primary, 1, 1, 1, branches)
    made = activate(b, "primary", made, activation)
    if ratio == 1:
        return made
    cheap = _branched(b, "cheap", made, primary * (ratio - 1), cheap_kernel, 1, primary, branches)
    cheap = activate(b, "cheap", cheap, activation)
    joined = b.op("concat", "concat", made, cheap)
    return joined if joined.shape[0] == out_channels else b.slice("kept", joined, 0, out_channels)


def dfc_attention(b: Builder, x: Value, y: Value) -> Value:
    """``y`` times gates that ``x`` gives at half its size: pointwise, 1 x 5 and 5 x 1 depthwise convolutions.

    The decoupled fully connected attention of Tang et al. 2022, GhostNetV2, arXiv:2211.12905, sections 3.2 and 3.3.
    A single position is not pooled.
    """
    channels = y.shape[0]
    gates = b.pool("pool", "avg_pool", x, 2, 2) if min(x.shape[1:]) > 1 else x
    gates = conv_bn(b, "pointwise", gates, channels, 1)
    gates = conv_bn(b, "row", gates, channels, (1, 5), groups=channels)
    gates = conv_bn(b, "column", gates, channels, (5, 1), groups=channels)
    gates = b.op("sigmoid", "sigmoid", gates)
    if gates.shape != y.shape:
        gates = b.op("resize", "resize", gates, size=y.shape[1:], mode="nearest")
    return b.op("mul", "mul", y, gates)


def ghost_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    expand: float,
    stride: int,
    attention: str = "none",
    dfc: bool = False,
    activation: str = "relu",
    ratio: int = 2,
    cheap_kernel: int = 3,
    branches: int = 1,
) -> Value:
    """A ghost module that widens, one that narrows without activation, and a residual around both.

    The inner width is ``expand`` times the input's, to a multiple of 4. ``kernel`` is that of the depthwise
    convolutions between the modules, where there is a stride, and of the shortcut, where the shape changes.
    Attention (of ``GHOST_ATTENTIONS``) sits between the modules; ``dfc`` gates the first.
    ``branches`` train in parallel where one convolution runs. Sources: Han et al. 2020, figure 3; Tang et al. 2022,
    section 3.3; Liu et al. 2024, section 3.1.
    """
    in_channels = x.shape[0]
    hidden = make_divisible(in_channels * expand, 4)
    y = b.block("widen", ghost_module, x, hidden, activation, ratio, cheap_kernel, branches)
    if dfc:
        y = b.block("dfc", dfc_attention, (x, y))
    if stride > 1:
        y = _branched(b, "depthwise", y, hidden, kernel, stride, hidden, branches)
    y = GHOST_ATTENTIONS[attention](b, y, in_channels)
    y = b.block("narrow", ghost_module, y, out_channels, "none", ratio, cheap_kernel, branches)
    if stride > 1 or in_channels != out_channels:
        x = b.block("shortcut", _shortcut, x, out_channels, kernel, stride)
    return b.op("add", "add", x, y)


def _shortcut(b: Builder, x: Value, out_channels: int, kernel: int, stride: int) -> Value:
    """The residual where the shape changes: a depthwise and a pointwise convolution without activation."""
    x = conv_bn(b, "depthwise", x, x.shape[0], kernel, stride, x.shape[0])
    return conv_bn(b, "pointwise", x, out_channels, 1)


def _branched(
    b: Builder, name: str, x: Value, out_channels: int, kernel: int, stride: int, groups: int, branches: int
) -> Value:
    """Convolution and batch norm, or the sum of several of them that one convolution can replace.

    Depthwise, a 1 x 1 branch joins them, and a batch norm alone where the shape stays.
    """
    if branches == 1:
        return conv_bn(b, name, x, out_channels, kernel, stride, groups)
    terms = []
    if groups > 1:
        terms.append(conv_bn(b, f"{name}.point", x, out_channels, 1, stride, groups))
        if stride == 1 and out_channels == x.shape[0]:
            terms.append(b.batch_norm(f"{name}.identity.bn", x))
    terms += [conv_bn(b, f"{name}.branch{i}", x, out_channels, kernel, stride, groups) for i in range(1, branches + 1)]
    return b.op(f"{name}.sum", "add", *terms)
