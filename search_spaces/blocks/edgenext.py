"""Blocks of EdgeNeXt (Maaz et al. 2022): depthwise convolutions, and attention between channels."""

from math import ceil

from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.mlp import mlp
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph

_EPS = 1e-6


def overlapping_stem(b: Builder, x: Value, out_channels: int, kernel: int = 9, stride: int = 4) -> Value:
    """Strided convolution without bias over windows that overlap, layer norm."""
    return conv_bn(b, "patches", x, out_channels, kernel, stride, norm="layer", eps=_EPS)


def edgenext_conv(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 7,
    stride: int = 1,
    mlp_ratio: float = 4.0,
    activation: str = "gelu",
    layer_scale: float = 1e-6,
    bias: bool = True,
) -> Value:
    """k x k depthwise convolution, layer norm, feed-forward; identity added, scaled by a factor a channel.

    Where the shape changes, the depthwise convolution makes it (``out_channels`` is then a multiple of the input's)
    and the sum starts after it. ``layer_scale`` is the first value of the factors.
    Source: Maaz et al. 2022, section 3.
    """
    y = b.conv("depthwise", x, out_channels, kernel, stride, x.shape[0], bias=bias)
    if y.shape != x.shape:
        x = y
    y = b.op("channels_last", "transpose", y, axes=(1, 2, 0))
    y = b.layer_norm("norm", y, axis=-1, eps=_EPS)
    y = b.block("mlp", mlp, y, mlp_ratio, activation, True, False, True)
    y = b.op("layer_scale", "scale", y, axis=-1, init=layer_scale)
    return b.op("add", "add", x, b.op("channels_first", "transpose", y, axes=(2, 0, 1)))


def split_transpose_attention(
    b: Builder,
    x: Value,
    scales: int = 2,
    heads: int = 4,
    mlp_ratio: float = 4.0,
    activation: str = "gelu",
    position: str = "none",
    layer_scale: float = 1e-6,
    bias: bool = True,
) -> Value:
    """SDTA: depthwise convolutions on ``scales`` groups of channels in a cascade, attention between channels, MLP.

    All groups but the last pass a 3 x 3 depthwise convolution, each of them on its group plus the result of the
    one before. ``position`` "fourier" adds a learned projection of sines of the position before the attention.
    ``bias`` is that of the depthwise convolutions. Source: Maaz et al. 2022, section 3.

    Raises: InvalidGraph if there are too few channels for the groups.
    """
    channels, height, width = x.shape
    y = _cascade(b, x, scales, bias)
    if position == "fourier":
        y = b.op("position_add", "add", y, b.block("position", fourier_position, y))
    y = b.op("flat", "reshape", y, shape=(channels, height * width))
    tokens = b.op("tokens", "transpose", y, axes=(1, 0))
    y = b.layer_norm("attention_norm", tokens, axis=-1, eps=_EPS)
    y = b.block("attention", cross_covariance_attention, y, heads)
    tokens = b.op("attention_add", "add", tokens, b.op("attention_scale", "scale", y, axis=-1, init=layer_scale))
    y = b.layer_norm("mlp_norm", tokens, axis=-1, eps=_EPS)
    y = b.block("mlp", mlp, y, mlp_ratio, activation, True, False, True)
    y = b.op("layer_scale", "scale", y, axis=-1, init=layer_scale)
    y = b.op("channels_first", "transpose", y, axes=(1, 0))
    return b.op("add", "add", x, b.op("map", "reshape", y, shape=x.shape))


def _cascade(b: Builder, x: Value, scales: int, bias: bool) -> Value:
    channels = x.shape[0]
    width = ceil(channels / scales)
    if scales < 2 or width * (scales - 1) >= channels:
        raise InvalidGraph(f"{channels} channels in {scales} groups", hint="2 groups or more, none of them empty")
    done: list[Value] = []
    for i in range(scales):
        part = b.slice(f"part{i}.slice", x, i * width, min(channels, (i + 1) * width))
        if i < scales - 1:
            if done:
                part = b.op(f"part{i}.add", "add", done[-1], part)
            part = b.conv(f"part{i}.depthwise", part, width, 3, groups=width, bias=bias)
        done.append(part)
    return b.op("concat", "concat", *done)


def fourier_position(b: Builder, x: Value, inner: int = 32) -> Value:
    """Sines and cosines of the row and the column (``inner`` each), projected to the channels of ``x``.

    Source: Carion et al. 2020, arXiv:2005.12872, section A.4; Ali et al. 2021, XCiT, arXiv:2106.09681, section 3.
    """
    waves = b.op("waves", "parameter", x, shape=(2 * inner, *x.shape[1:]), init="fourier", trainable=False)
    return b.conv("project", waves, x.shape[0], 1, bias=True)


def cross_covariance_attention(b: Builder, x: Value, heads: int) -> Value:
    """Attention between the channels of a head, with a learned temperature a head, on (tokens, channels).

    Queries and keys are divided by their norm over the tokens, so the logits are cosines.
    Source: Ali et al. 2021, XCiT, arXiv:2106.09681, section 3.
    """
    tokens, channels = x.shape
    qkv = b.linear("qkv", x, 3 * channels)
    qkv = b.op("turned", "transpose", qkv, axes=(1, 0))
    qkv = b.op("heads", "reshape", qkv, shape=(3 * heads, channels // heads, tokens))
    query, key, value = (b.slice(n, qkv, i * heads, (i + 1) * heads) for i, n in enumerate(("query", "key", "value")))
    query = b.op("query_norm", "l2_norm", query, axis=-1, eps=1e-12)
    key = b.op("key_norm", "l2_norm", key, axis=-1, eps=1e-12)
    logits = b.matmul("logits", query, key, transpose_b=True)
    logits = b.op("temperature", "scale", logits, axis=0, init=1.0)
    mixed = b.matmul("mix", b.op("softmax", "softmax", logits, axis=-1), value)
    mixed = b.op("merged", "reshape", mixed, shape=(channels, tokens))
    return b.linear("project", b.op("back", "transpose", mixed, axes=(1, 0)), channels)
