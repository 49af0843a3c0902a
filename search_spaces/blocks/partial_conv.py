"""Partial convolution: a dense convolution on the first channels, the others as they are or under attention."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import hypot, log

from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.tables import check_pairs
from search_spaces.blocks.transformer import merge_heads, split_heads
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph

_MOST_POSITIONS = 1024
_NEAR, _BUCKETS, _FAR = 20, 40, 160
"""Distances up to ``_NEAR`` have a bucket each, longer ones share those up to ``_BUCKETS``, from ``_FAR`` the last."""


def patch_conv_bn(b: Builder, x: Value, out_channels: int, stride: int = 4) -> Value:
    """A convolution over patches that tile the input, and batch norm (Chen et al. 2023, arXiv:2303.03667)."""
    return conv_bn(b, "patches", x, out_channels, stride, stride, padding=(0,) * (len(x.shape) - 1))


def partial_conv(b: Builder, x: Value, kernel: int = 3, divisions: int = 4) -> Value:
    """A convolution of the first ``1 / divisions`` of the channels (Chen et al. 2023, section 3.2)."""
    first, rest = _divided(b, x, kernel, divisions)
    return b.op("concat", "concat", first, rest)


def partial_channel_attention(b: Builder, x: Value, kernel: int = 3, divisions: int = 4) -> Value:
    """A partial convolution whose other channels are gated by their means and standard deviations.

    Source: Huang et al. 2025, PartialNet, arXiv:2502.01303 (PAT_ch). Raises: InvalidGraph on a single position,
    which has no deviation.
    """
    if max(x.shape[1:]) < 2:
        raise InvalidGraph("channel statistics of one position", hint="use a larger input or fewer strides")
    first, rest = _divided(b, x, kernel, divisions)
    mean = b.op("mean", "global_avg_pool", rest)
    deviation = b.op("deviation", "global_std_pool", rest)
    both = b.op("statistics", "concat", mean, deviation, axis=2)
    gates = conv_bn(b, "gates", both, rest.shape[0], (1, 2), padding=(0, 0), activation="hard_sigmoid")
    rest = b.batch_norm("gated.bn", b.op("gated.mul", "mul", rest, gates))
    return b.op("concat", "concat", first, rest)


def partial_self_attention(b: Builder, x: Value, kernel: int = 3, divisions: int = 4, heads: int = 4) -> Value:
    """A partial convolution whose other channels attend to one another over all positions.

    Each head adds a learned bias that depends on the distance. Sources: Huang et al. 2025, arXiv:2502.01303 (PAT_sf);
    Wu et al. 2021, arXiv:2107.14222 (bias mode, Euclidean distances). Raises: InvalidGraph above 1024 positions.
    """
    first, rest = _divided(b, x, kernel, divisions)
    channels, height, width = rest.shape
    positions = height * width
    if channels % heads or positions > _MOST_POSITIONS:
        raise InvalidGraph(
            f"{heads} heads over {channels} channels and {positions} positions",
            hint=f"heads that divide the channels, and at most {_MOST_POSITIONS} positions",
        )
    y = b.layer_norm("norm", rest)
    y = b.op("tokens", "reshape", y, shape=(channels, positions))
    y = b.op("tokens_last", "transpose", y, axes=(1, 0))
    y = b.op("group", "reshape", y, shape=(1, positions, channels))
    qkv = b.linear("qkv", y, 3 * channels, bias=False)
    query, key, value = (
        split_heads(b, name, qkv, i * channels, (i + 1) * channels, heads)
        for i, name in enumerate(("query", "key", "value"))
    )
    query = b.op("scaled", "multiply", query, factor=(channels // heads) ** -0.5)
    logits = b.matmul("logits", query, key, transpose_b=True)
    table = b.op("table", "parameter", rest, shape=(heads, 2 * _BUCKETS + 1), init="zeros", trainable=True)
    bias = b.op("distances.gather", "gather", table, axis=1, indices=distance_buckets(height, width))
    bias = b.op("distances.pairs", "reshape", bias, shape=(1, heads, positions, positions))
    weights = b.op("softmax", "softmax", b.op("biased", "add", logits, bias), axis=-1)
    y = merge_heads(b, "out", b.matmul("mix", weights, value))
    y = b.linear("project", y, channels)
    y = b.op("project_first", "transpose", y, axes=(0, 2, 1))
    return b.op("concat", "concat", first, b.op("map", "reshape", y, shape=rest.shape))


def partial_spatial_attention(b: Builder, x: Value) -> Value:
    """The first half of the channels times a gate for each position, the second half through a pointwise convolution.

    Batch norm follows the first and precedes the second. Source: Huang et al. 2025, arXiv:2502.01303 (PAT_sp).
    """
    channels = x.shape[0]
    if channels < 2:
        raise InvalidGraph("one channel has no halves", hint="use more channels")
    split = channels - channels // 2
    first, second = b.slice("first.slice", x, 0, split), b.slice("second.slice", x, split, channels)
    gate = b.op("first.hard_sigmoid", "hard_sigmoid", b.conv("first.gate", first, 1, 1))
    first = b.batch_norm("first.bn", b.op("first.mul", "mul", first, gate))
    second = b.conv("second.conv", b.batch_norm("second.bn", second), channels - split, 1)
    return b.op("concat", "concat", first, second)


PARTIAL_MIXERS: Mapping[str, Callable[..., Value]] = {
    "conv": partial_conv,
    "channel": partial_channel_attention,
    "self": partial_self_attention,
}
"""What a partial block can do with its channels."""


def partial_conv_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    mlp_ratio: float = 2.0,
    stride: int = 1,
    divisions: int = 4,
    activation: str = "relu",
    mixer: str = "conv",
    spatial: bool = False,
    heads: int = 4,
) -> Value:
    """Partial mixer, pointwise expansion with batch norm and activation, pointwise back; residual around all.

    A convolution over patches comes first where the shape changes. ``mixer`` is one of ``PARTIAL_MIXERS``; "self"
    has ``heads`` and a residual of its own; ``spatial`` appends ``partial_spatial_attention``. Sources: Chen et al.
    2023, FasterNet, section 3.4; Huang et al. 2025, PartialNet, arXiv:2502.01303.
    """
    if stride != 1 or x.shape[0] != out_channels:
        x = b.block("merge", patch_conv_bn, x, out_channels, stride)
    given = (kernel, divisions, heads) if mixer == "self" else (kernel, divisions)
    y = b.block(f"mix.{mixer}", PARTIAL_MIXERS[mixer], x, *given)
    if mixer == "self":
        x = y = b.op("mix_add", "add", x, y)
    y = conv_bn(b, "expand", y, int(out_channels * mlp_ratio), 1, activation=activation)
    y = b.conv("project.conv", y, out_channels, 1)
    if spatial:
        y = b.block("spatial", partial_spatial_attention, y)
    return b.op("add", "add", x, y)


def _divided(b: Builder, x: Value, kernel: int, divisions: int) -> tuple[Value, Value]:
    """The first ``1 / divisions`` of the channels after a convolution, and the others."""
    channels = x.shape[0]
    mixed = channels // divisions
    if not 0 < mixed < channels:
        raise InvalidGraph(f"{channels} channels in {divisions} divisions", hint="2 divisions up to all channels")
    first = b.conv("conv", b.slice("mixed", x, 0, mixed), mixed, kernel)
    return first, b.slice("kept", x, mixed, channels)


@lru_cache(maxsize=32)
def distance_buckets(height: int, width: int) -> tuple[int, ...]:
    """The bucket of every pair of positions, row by row (Wu et al. 2021, equation 18)."""
    check_pairs(height * width, height * width)
    positions = [(row, column) for row in range(height) for column in range(width)]
    of = {(i, j): _BUCKETS + _bucket(round(hypot(i, j))) for i in range(height) for j in range(width)}
    return tuple([of[abs(r - s), abs(c - d)] for r, c in positions for s, d in positions])


def _bucket(distance: int) -> int:
    if distance <= _NEAR:
        return distance
    return min(_BUCKETS, round(_NEAR + log(distance / _NEAR) / log(_FAR / _NEAR) * (_BUCKETS - _NEAR)))
