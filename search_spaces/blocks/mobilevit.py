"""Blocks of MobileViT and MobileViTv2: attention among the pixels of one place in every patch."""

from math import ceil

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.blocks.transformer import transformer_layer
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def mobilevit(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    inner: int = 64,
    layers: int = 2,
    patch: int = 2,
    heads: int = 4,
    mlp_ratio: float = 2.0,
    activation: str = "silu",
) -> Value:
    """k x k convolution, ``layers`` transformer layers of width ``inner`` between patches, fusion with the input.

    Each pixel attends to the pixels that lie in the same place of all ``patch`` x ``patch`` patches. A size
    that ``patch`` does not divide is resized up for the transformer, and back after it.
    Source: Mehta and Rastegari 2022, section 3.1 and figure 1b.
    """
    channels, height, width = x.shape
    y = conv_bn(b, "local", x, channels, kernel, activation=activation)
    y = b.conv("embed", y, inner, 1)
    grown = _grown(height, patch), _grown(width, patch)
    if grown != (height, width):
        y = b.op("grow", "resize", y, size=grown, mode="bilinear")
    y = _unfold(b, y, patch, (2, 4, 1, 3, 0))
    y = b.op("tokens", "reshape", y, shape=(patch * patch, grown[0] * grown[1] // patch**2, inner))
    for i in range(1, layers + 1):
        y = b.block(f"layer{i}", transformer_layer, y, heads, mlp_ratio, activation, 1e-5)
    y = b.layer_norm("norm", y, axis=-1, eps=1e-5)
    y = b.op("places", "reshape", y, shape=(patch, patch, grown[0] // patch, grown[1] // patch, inner))
    y = _fold(b, y, grown, (4, 2, 0, 3, 1))
    if grown != (height, width):
        y = b.op("shrink", "resize", y, size=(height, width), mode="bilinear")
    y = conv_bn(b, "project", y, out_channels, 1, activation=activation)
    return conv_bn(b, "fuse", b.op("concat", "concat", x, y), out_channels, kernel, activation=activation)


def mobilevit_v2(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    reduction: float = 0.5,
    layers: int = 2,
    patch: int = 2,
    mlp_ratio: float = 2.0,
    activation: str = "silu",
) -> Value:
    """Depthwise convolution, then ``layers`` transformer layers with separable self-attention between patches.

    The inner width is ``reduction`` times the input channels. A size that ``patch`` does not divide is resized
    up and stays so. Source: Mehta and Rastegari 2022, arXiv:2206.02680, section 3.
    """
    channels, height, width = x.shape
    grown = _grown(height, patch), _grown(width, patch)
    if grown != (height, width):
        x = b.op("grow", "resize", x, size=grown, mode="bilinear_corners")
    inner = make_divisible(channels * reduction)
    y = conv_bn(b, "local", x, channels, kernel, groups=channels, activation=activation)
    y = _unfold(b, b.conv("embed", y, inner, 1), patch, (0, 2, 4, 1, 3))
    y = b.op("tokens", "reshape", y, shape=(inner, patch * patch, grown[0] * grown[1] // patch**2))
    for i in range(1, layers + 1):
        y = b.block(f"layer{i}", separable_transformer_layer, y, mlp_ratio, activation)
    y = b.op("norm", "group_norm", y, groups=1, eps=1e-5, bias=True)
    y = b.op("places", "reshape", y, shape=(inner, patch, patch, grown[0] // patch, grown[1] // patch))
    y = _fold(b, y, grown, (0, 3, 1, 4, 2))
    return conv_bn(b, "project", y, out_channels, 1)


def separable_transformer_layer(b: Builder, x: Value, mlp_ratio: float, activation: str) -> Value:
    """A pre-norm transformer layer on (channels, places, patches), all of its layers 1 x 1 convolutions."""
    channels = x.shape[0]
    y = b.op("attention_norm", "group_norm", x, groups=1, eps=1e-5, bias=True)
    x = b.op("attention_add", "add", x, b.block("attention", separable_self_attention, y))
    y = b.op("mlp_norm", "group_norm", x, groups=1, eps=1e-5, bias=True)
    y = b.conv("widen.conv", y, int(channels * mlp_ratio), 1, bias=True)
    y = b.conv("narrow", activate(b, "widen", y, activation), channels, 1, bias=True)
    return b.op("mlp_add", "add", x, y)


def separable_self_attention(b: Builder, x: Value) -> Value:
    """Self-attention of linear cost on (channels, places, patches): one score a token, one context for all.

    relu(value) times the sum of the keys over the patches, weighted by the softmax of the scores.
    Source: Mehta and Rastegari 2022, arXiv:2206.02680, section 3.
    """
    channels, _, patches = x.shape
    qkv = b.conv("qkv", x, 1 + 2 * channels, 1, bias=True)
    scores = b.op("softmax", "softmax", b.slice("query", qkv, 0, 1), axis=-1)
    weighted = b.op("weighted", "mul", b.slice("key", qkv, 1, 1 + channels), scores)
    context = b.op("mean", "reduce_mean", weighted, axis=-1)
    context = b.op("context", "multiply", context, factor=float(patches))
    value = b.op("relu", "relu", b.slice("value", qkv, 1 + channels, 1 + 2 * channels))
    return b.conv("project", b.op("mul", "mul", value, context), channels, 1, bias=True)


def _grown(size: int, patch: int) -> int:
    return ceil(size / patch) * patch


def _unfold(b: Builder, x: Value, patch: int, axes: tuple[int, ...]) -> Value:
    """(channels, patches down, places down, patches across, places across), with the axes in another order."""
    channels, height, width = x.shape
    x = b.op("unfold.split", "reshape", x, shape=(channels, height // patch, patch, width // patch, patch))
    return b.op("unfold.transpose", "transpose", x, axes=axes)


def _fold(b: Builder, x: Value, size: tuple[int, int], axes: tuple[int, ...]) -> Value:
    """Back to (channels, height, width); ``axes`` bring the order of ``_unfold`` back."""
    x = b.op("fold.transpose", "transpose", x, axes=axes)
    return b.op("fold.merge", "reshape", x, shape=(x.shape[0], *size))
