"""The two lasting changes of Primer to the transformer layer (So et al. 2021, Primer-EZ), on maps."""

from search_spaces.blocks.mlp import mlp
from search_spaces.blocks.transformer import attend, merge_heads
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def primer_layer(
    b: Builder,
    x: Value,
    heads: int = 4,
    kernel: int = 3,
    mlp_ratio: float = 4.0,
    activation: str = "squared_relu",
    eps: float = 1e-6,
) -> Value:
    """x + multi-dconv-head attention (norm(x)), then x + feed-forward (norm(x)) with squared ReLU.

    (channels, height, width) to the same; every position attends to all. Source: So et al. 2021, section 3.
    """
    y = b.layer_norm("attention_norm", x, eps=eps)
    x = b.op("attention_add", "add", x, b.block("attention", multi_dconv_head_attention, y, heads, kernel))
    y = b.layer_norm("mlp_norm", x, eps=eps)
    return b.op("mlp_add", "add", x, b.block("mlp", mlp, y, mlp_ratio, activation))


def multi_dconv_head_attention(b: Builder, x: Value, heads: int = 4, kernel: int = 3) -> Value:
    """Self-attention whose queries, keys and values each pass a depthwise convolution after their projection.

    The paper's convolution runs over the past of a text, 3 x 1 and causal; here it is k x k around each position
    of the map, as an image has no order. It has a bias and a kernel for each channel of each head.
    Source: So et al. 2021, section 3.

    Raises: InvalidGraph if the heads do not divide the channels.
    """
    channels, height, width = x.shape
    if channels % heads:
        raise InvalidGraph(f"{channels} channels for {heads} heads", hint="the heads must divide the channels")
    parts = []
    for name in ("query", "key", "value"):
        y = b.conv(f"{name}.project", x, channels, 1, bias=True)
        y = b.conv(f"{name}.depthwise", y, channels, kernel, groups=channels, bias=True)
        y = b.op(f"{name}.heads", "reshape", y, shape=(1, heads, channels // heads, height * width))
        parts.append(b.op(f"{name}.turned", "transpose", y, axes=(0, 1, 3, 2)))
    mixed = merge_heads(b, "out", attend(b, *parts))
    mixed = b.op("out.flat", "reshape", mixed, shape=(height, width, channels))
    mixed = b.op("out.map", "transpose", mixed, axes=(2, 0, 1))
    return b.conv("project", mixed, channels, 1, bias=True)
