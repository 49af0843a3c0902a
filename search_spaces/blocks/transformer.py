"""The transformer layer on tokens of shape (groups, tokens, channels); tokens see those of their own group."""

from search_spaces.blocks.mlp import mlp
from search_spaces.builder import Builder, Value


def split_heads(b: Builder, name: str, x: Value, start: int, stop: int, heads: int) -> Value:
    """Channels ``start`` to ``stop`` of (groups, tokens, channels) as (groups, heads, tokens, channels of a head)."""
    groups, tokens, _ = x.shape
    x = b.slice(f"{name}.slice", x, start, stop, axis=-1)
    x = b.op(f"{name}.heads", "reshape", x, shape=(groups, tokens, heads, (stop - start) // heads))
    return b.op(f"{name}.transpose", "transpose", x, axes=(0, 2, 1, 3))


def attend(b: Builder, query: Value, key: Value, value: Value) -> Value:
    """softmax(q kᵀ / √d) v over the last two axes, (..., tokens, d); the nodes are named ``logits`` to ``mix``."""
    query = b.op("scaled", "multiply", query, factor=query.shape[-1] ** -0.5)
    logits = b.matmul("logits", query, key, transpose_b=True)
    return b.matmul("mix", b.op("softmax", "softmax", logits, axis=-1), value)


def merge_heads(b: Builder, name: str, x: Value) -> Value:
    """(groups, heads, tokens, d) as (groups, tokens, heads d)."""
    groups, heads, tokens, d = x.shape
    x = b.op(f"{name}.transpose", "transpose", x, axes=(0, 2, 1, 3))
    return b.op(f"{name}.merged", "reshape", x, shape=(groups, tokens, heads * d))


def self_attention(b: Builder, x: Value, heads: int) -> Value:
    """Multi-head self-attention with biases (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2)."""
    channels = x.shape[-1]
    qkv = b.linear("qkv", x, 3 * channels)
    query, key, value = (
        split_heads(b, name, qkv, i * channels, (i + 1) * channels, heads)
        for i, name in enumerate(("query", "key", "value"))
    )
    mixed = attend(b, query, key, value)
    return b.linear("project", merge_heads(b, "out", mixed), channels)


def transformer_layer(b: Builder, x: Value, heads: int, mlp_ratio: float, activation: str, eps: float) -> Value:
    """x + attention(norm(x)), then x + feed-forward(norm(x)) (Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 2, 3)."""
    y = b.layer_norm("attention_norm", x, axis=-1, eps=eps)
    x = b.op("attention_add", "add", x, b.block("attention", self_attention, y, heads))
    y = b.layer_norm("mlp_norm", x, axis=-1, eps=eps)
    return b.op("mlp_add", "add", x, b.block("mlp", mlp, y, mlp_ratio, activation, True, False, True))
