"""The MetaFormer block with its token mixers: none, random, pooling, separable convolution, attention."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.conv import activate, dropped
from search_spaces.blocks.mlp import mlp
from search_spaces.blocks.patch import downsampled
from search_spaces.blocks.transformer import attend, merge_heads, split_heads
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def random_mixing(b: Builder, x: Value) -> Value:
    """Each position as a fixed random average of all of them (Yu et al. 2022, RandFormer).

    The matrix has (height width)² entries and does not train.
    """
    channels, height, width = x.shape
    count = height * width
    matrix = b.op("matrix", "parameter", x, shape=(count, count), init="normal", trainable=False)
    y = b.op("positions", "reshape", x, shape=(channels, count))
    y = b.matmul("mix", y, b.op("softmax", "softmax", matrix, axis=-1), transpose_b=True)
    return b.op("map", "reshape", y, shape=x.shape)


def pooling(b: Builder, x: Value, pool: int = 3) -> Value:
    """The mean over a window minus the position itself (Yu et al. 2022, PoolFormer, arXiv:2111.11418, equation 4)."""
    return b.op("sub", "sub", b.pool("pool", "avg_pool", x, pool, 1, pool // 2), x)


def inverted_separable_conv(b: Builder, x: Value, kernel: int = 7, activation: str = "star_relu") -> Value:
    """Pointwise convolution to twice the channels, activation, depthwise and pointwise convolution, no bias.

    Sources: Yu et al. 2022 (ConvFormer), after Sandler et al. 2018, section 3.3.
    """
    channels = x.shape[0]
    y = activate(b, "expand", b.conv("expand.conv", x, 2 * channels, 1), activation)
    y = b.conv("depthwise", y, 2 * channels, kernel, groups=2 * channels)
    return b.conv("project", y, channels, 1)


def head_attention(b: Builder, x: Value, head_dim: int = 32) -> Value:
    """Self-attention on (1, tokens, channels) without biases, with heads of ``head_dim`` channels, at least one.

    Sources: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; Yu et al. 2022 (CAFormer).
    """
    channels = x.shape[-1]
    heads = max(1, channels // head_dim)
    inner = heads * head_dim
    qkv = b.linear("qkv", x, 3 * inner, bias=False)
    query, key, value = (
        split_heads(b, name, qkv, i * inner, (i + 1) * inner, heads) for i, name in enumerate(("query", "key", "value"))
    )
    mixed = merge_heads(b, "out", attend(b, query, key, value))
    return b.linear("project", mixed, channels, bias=False)


MIXERS: Mapping[str, Callable[..., Value] | None] = {
    "identity": None,
    "random": random_mixing,
    "pooling": pooling,
    "sep_conv": inverted_separable_conv,
    "attention": head_attention,
}
"""Every token mixer that a MetaFormer block can be told to use."""


def metaformer_block(
    b: Builder,
    x: Value,
    out_channels: int,
    mixer: str = "pooling",
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "star_relu",
    kernel: int = 7,
    pool: int = 3,
    head_dim: int = 32,
    bias: bool = False,
    residual_scale: bool = False,
    layer_scale: float = 0.0,
    downsample_norm: str = "layer_no_bias",
    eps: float = 1e-6,
    drop_path: float = 0.0,
) -> Value:
    """x + mixer(norm(x)), then x + MLP(norm(x)); Yu et al. 2022, arXiv:2210.13452, section 2.

    ``mixer`` is one of ``MIXERS``; ``kernel`` is that of the separable convolution, ``pool`` the window of
    pooling, ``head_dim`` the width of an attention head. As published, the norm spans all channels and positions
    where the mixer has no trained weights, the channels of each position otherwise; ``bias`` gives it and the
    perceptron a bias. ``residual_scale`` multiplies x by learned factors, ``layer_scale`` is the first value of those
    of the branches (0: none), ``drop_path`` the share of samples without one in training. Where the stride or the
    channels change, a norm and a 3 x 3 convolution come first.
    """
    if mixer not in MIXERS:
        raise InvalidGraph(f"there is no mixer {mixer!r}", hint=f"one of {list(MIXERS)}")
    x = downsampled(b, x, out_channels, 3, stride, downsample_norm, True, eps)
    shape = x.shape
    tokens = mixer == "attention"  # which needs the channels last, and so has linear layers throughout
    if tokens:
        x = b.op("positions", "reshape", x, shape=(1, out_channels, shape[1] * shape[2]))
        x = b.op("tokens", "transpose", x, axes=(0, 2, 1))
    arguments: Mapping[str, tuple[object, ...]] = {
        "pooling": (pool,),
        "sep_conv": (kernel, activation),
        "attention": (head_dim,),
    }
    y = _norm(b, "mixer_norm", x, mixer, bias, eps)
    function = MIXERS[mixer]
    if function is not None:
        y = b.block(mixer, function, y, *arguments.get(mixer, ()))
    x = _joined(b, "mixed", x, y, tokens, residual_scale, layer_scale, drop_path)
    y = _norm(b, "mlp_norm", x, mixer, bias, eps)
    y = b.block("mlp", mlp, y, mlp_ratio, activation, bias, False, tokens)
    x = _joined(b, "out", x, y, tokens, residual_scale, layer_scale, drop_path)
    if tokens:
        x = b.op("channels_first", "transpose", x, axes=(0, 2, 1))
        x = b.op("map", "reshape", x, shape=shape)
    return x


def _norm(b: Builder, name: str, x: Value, mixer: str, bias: bool, eps: float) -> Value:
    if mixer in ("identity", "random", "pooling"):
        return b.op(f"{name}.whole", "group_norm", x, groups=1, eps=eps, bias=bias)
    return b.layer_norm(f"{name}.ln", x, axis=-1 if mixer == "attention" else 0, eps=eps, bias=bias)


def _joined(
    b: Builder,
    name: str,
    x: Value,
    y: Value,
    tokens: bool,
    residual_scale: bool,
    layer_scale: float,
    drop_path: float,
) -> Value:
    axis = -1 if tokens else 0
    if residual_scale:
        x = b.op(f"{name}.residual_scale", "scale", x, axis=axis, init=1.0)
    if layer_scale:
        y = b.op(f"{name}.layer_scale", "scale", y, axis=axis, init=layer_scale)
    return b.op(f"{name}.add", "add", x, dropped(b, y, drop_path, f"{name}.drop_path"))
