"""Blocks of EMO and EMOv2: an inverted residual whose expansion may be attention in windows."""

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.blocks.norm import NORMS
from search_spaces.blocks.transformer import attend
from search_spaces.blocks.windows import crop, from_windows, pad_to_multiple, to_windows
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph

MIXINGS = {"none": (), "close": (False,), "remote": (True,), "both": (True, False)}
"""What an expansion attends to: nothing, windows, windows of positions that lie apart, or both of them, summed."""

_EPS = 1e-6


def emo_stem(b: Builder, x: Value, out_channels: int, stride: int = 2, activation: str = "silu") -> Value:
    """Strided 3 x 3 convolution and depthwise 3 x 3, each with batch norm and activation, and a plain pointwise one."""
    x = conv_bn(b, "conv", x, out_channels, 3, stride, activation=activation, bias=True, eps=_EPS)
    x = conv_bn(b, "depthwise", x, out_channels, 3, groups=out_channels, activation=activation, eps=_EPS)
    return b.conv("pointwise", x, out_channels, 1)


def inverted_residual_attention(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 5,
    expand: float = 3.0,
    stride: int = 1,
    mixing: str = "both",
    head_channels: int = 20,
    window: int = 7,
    norm: str = "layer",
    activation: str = "gelu",
    layer_scale: float = 1e-6,
) -> Value:
    """iRMB and i2RMB: norm, expansion, depthwise convolution, projection, layer scale; identity added.

    The expansion is a pointwise convolution, or attention (``mixing``, of ``MIXINGS``) whose values have
    ``expand`` times the channels. Where the shape stays the depthwise convolution has an identity as well.
    Sources: Zhang et al. 2023, arXiv:2301.01146, section 3; Zhang et al. 2024, section 3.

    Raises: InvalidGraph if heads of ``head_channels`` do not divide the channels.
    """
    in_channels = x.shape[0]
    inner = int(in_channels * expand)
    stays = stride == 1 and in_channels == out_channels
    y = NORMS[norm](b, "entry", x, _EPS)
    if mixing not in MIXINGS:
        raise InvalidGraph(f"mixing {mixing!r}", hint=f"one of {', '.join(MIXINGS)}")
    if mixing == "none":
        y = activate(b, "expand", b.conv("expand.conv", y, inner, 1, bias=True), activation)
    else:
        y = b.block("expand", window_expansion, y, inner, mixing, head_channels, window, activation)
    local = conv_bn(b, "local", y, inner, kernel, stride, inner, "silu", eps=_EPS)
    y = b.op("local_add", "add", y, local) if stays else local
    y = b.conv("project", y, out_channels, 1)
    y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, y) if stays else y


def window_expansion(
    b: Builder, x: Value, out_channels: int, mixing: str, head_channels: int, window: int, activation: str
) -> Value:
    """Attention within windows, values expanded to ``out_channels`` and activated before they are mixed.

    A size that the window does not divide is padded with zeros, which are not masked. "both" has two patterns of
    windows from the same queries, keys and values. Source: Zhang et al. 2024, section 3.
    """
    channels, *size = x.shape
    heads = channels // head_channels
    if not heads or channels % heads or out_channels % heads:
        raise InvalidGraph(
            f"heads of {head_channels} for {channels} to {out_channels} channels", hint="heads must divide both"
        )
    x = pad_to_multiple(b, x, (window, window))
    pair = b.conv("query_key", x, 2 * channels, 1, bias=True)
    value = activate(b, "value", b.conv("value.conv", x, out_channels, 1, bias=True), activation)
    mixed = [
        b.block("remote" if apart else "close", window_attention, (pair, value), heads, window, apart)
        for apart in MIXINGS[mixing]
    ]
    return crop(b, b.op("sum", "add", *mixed) if len(mixed) > 1 else mixed[0], (size[0], size[1]))


def window_attention(b: Builder, pair: Value, value: Value, heads: int, window: int, apart: bool) -> Value:
    """Attention by ``pair`` (queries, then keys) within windows of ``window`` squared; ``apart``: a strided grid."""
    channels = pair.shape[0] // 2
    grid = (pair.shape[1] // window, pair.shape[2] // window)
    side = (window, window)
    query, key = (
        to_windows(b, name, b.slice(f"{name}.slice", pair, start, start + channels), grid, side, heads, strided=apart)
        for name, start in (("query", 0), ("key", channels))
    )
    value = to_windows(b, "value", value, grid, side, heads, strided=apart)
    return from_windows(b, "out", attend(b, query, key, value), grid, side, strided=apart)
