"""The blocks of LSNet: weights that a large kernel sees and a small one applies."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.repvit import depthwise_mixer, residual_mlp
from search_spaces.blocks.tables import check_pairs
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def lsnet_stem(b: Builder, x: Value, out_channels: int, stride: int = 8, activation: str = "relu") -> Value:
    """Three 3 x 3 convolutions that share a stride of up to 8, a quarter, half and all of the width (ibid., 3.3)."""
    strides = [2 if stride >= total else 1 for total in (2, 4, 8)]
    x = conv_bn(b, "first", x, out_channels // 4, 3, strides[0], activation=activation)
    x = conv_bn(b, "second", x, out_channels // 2, 3, strides[1], activation=activation)
    return conv_bn(b, "third", x, out_channels, 3, strides[2])


def large_small_conv(b: Builder, x: Value, kernel: int = 7, small: int = 3, sharing: int = 8) -> Value:
    """x + BN(each position convolved with weights of its own), the weights seen from a large window.

    Perception: pointwise, depthwise ``kernel`` x ``kernel``, two pointwise convolutions and a group norm give
    every position ``small`` x ``small`` weights for each of C / ``sharing`` groups of channels. Source: Wang et
    al. 2025, LSNet, arXiv:2503.23135, section 3.2.
    """
    channels, half = x.shape[0], x.shape[0] // 2
    if channels % sharing:
        raise InvalidGraph(f"{channels} channels, {sharing} of which share weights", hint=f"a multiple of {sharing}")
    y = conv_bn(b, "perceive.reduce", x, half, 1, activation="relu")
    y = conv_bn(b, "perceive.spatial", y, half, kernel, groups=half)
    y = conv_bn(b, "perceive.mix", y, half, 1, activation="relu")
    groups = channels // sharing
    y = b.conv("perceive.weights.conv", y, small * small * groups, 1, bias=True)
    y = b.op("perceive.weights.norm", "group_norm", y, groups=groups, eps=1e-5, bias=True)
    y = b.op("aggregate", "dynamic_conv", x, y, kernel=(small, small))
    return b.op("add", "add", b.batch_norm("bn", y), x)


def biased_attention(b: Builder, x: Value, heads: int = 4, key_channels: int = 16) -> Value:
    """x + attention over all positions, with a learned bias for each distance along both axes.

    Queries pass through a depthwise 3 x 3 convolution; values have C / ``heads`` channels a head. Sources: Graham
    et al. 2021, LeViT, arXiv:2104.01136, section 4.3; Wang et al. 2025, LSNet, section 3.3.
    """
    channels, height, width = x.shape
    if channels % heads:
        raise InvalidGraph(f"{channels} channels in {heads} heads", hint="the heads must divide the channels")
    keys, positions = heads * key_channels, height * width
    qkv = conv_bn(b, "qkv", x, 2 * keys + channels, 1)
    query = conv_bn(b, "query", b.slice("query.slice", qkv, 0, keys), keys, 3, groups=keys)
    query = b.op("query.scaled", "multiply", query, factor=key_channels**-0.5)
    query = b.op("query.heads", "reshape", query, shape=(heads, key_channels, positions))
    query = b.op("query.turn", "transpose", query, axes=(0, 2, 1))
    key = b.slice("key.slice", qkv, keys, 2 * keys)
    key = b.op("key.heads", "reshape", key, shape=(heads, key_channels, positions))
    value = b.slice("value.slice", qkv, 2 * keys, 2 * keys + channels)
    value = b.op("value.heads", "reshape", value, shape=(heads, channels // heads, positions))
    logits = b.op("biased", "add", b.matmul("logits", query, key), _distance_bias(b, x, heads))
    weights = b.op("softmax", "softmax", logits, axis=-1)
    y = b.op("join", "reshape", b.matmul("mix", value, weights, transpose_b=True), shape=(channels, height, width))
    y = conv_bn(b, "project", b.op("relu", "relu", y), channels, 1)
    return b.op("add", "add", x, y)


def _distance_bias(b: Builder, x: Value, heads: int) -> Value:
    """(heads, positions, positions): one learned number for each pair of absolute distances."""
    _, height, width = x.shape
    check_pairs(height * width, height * width)
    places = [(row, column) for row in range(height) for column in range(width)]
    table = b.op("distance.table", "parameter", x, shape=(heads, height * width), init="zeros", trainable=True)
    indices = tuple([abs(r - s) * width + abs(c - d) for r, c in places for s, d in places])
    bias = b.op("distance.pairs", "gather", table, axis=1, indices=indices)
    return b.op("distance.square", "reshape", bias, shape=(heads, len(places), len(places)))


def lsnet_block(
    b: Builder,
    x: Value,
    out_channels: int,
    mixer: str = "large_small",
    kernel: int = 7,
    mlp_ratio: float = 2.0,
    stride: int = 1,
    heads: int = 4,
    activation: str = "relu",
) -> Value:
    """A mixer over positions and a perceptron over channels (Wang et al. 2025, LSNet, arXiv:2503.23135, figure 4).

    ``mixer``: "large_small", "attention", or "depthwise" (parallel 3 x 3 and 1 x 1 and squeeze-and-excitation).
    ``kernel`` is the window that the large-small convolution sees. Where the stride or the channels change, a
    depthwise 3 x 3 and a pointwise convolution come first. Raises: InvalidGraph for another mixer.
    """
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "downsample.spatial", x, x.shape[0], 3, stride, x.shape[0])
        x = conv_bn(b, "downsample.channel", x, out_channels, 1)
    if mixer == "depthwise":
        x = depthwise_mixer(b, "depthwise", x, 3, norm_last=False)
        x = ATTENTIONS["se_of_8"](b, x, out_channels)
    elif mixer == "large_small":
        x = b.block("large_small", large_small_conv, x, kernel)
    elif mixer == "attention":
        x = b.block("attention", biased_attention, x, heads)
    else:
        raise InvalidGraph(f"mixer {mixer!r}", hint="large_small, attention or depthwise")
    return residual_mlp(b, "mlp", x, mlp_ratio, activation)
