"""The skip block of SkipNet."""

from search_spaces.blocks.inverted_residual import inverted_residual
from search_spaces.builder import Builder, Value


def pooled_inverted_residual(
    b: Builder, x: Value, out_channels: int, kernel: int, expand: float, stride: int, activation: str = "relu"
) -> Value:
    """Average pooling by ``stride``, then an inverted residual without identity.

    In SkipNet it carries an early map past several stages, and is added to what they make of it (Abrahamyan et al.
    2021, Bias loss for mobile neural networks, arXiv:2107.11170, section 4).
    """
    if stride > 1:
        x = b.pool("pool", "avg_pool", x, stride, stride)
    value: Value = b.block(
        *("branch", inverted_residual, x, out_channels, kernel, expand, 1, "none", activation, 1, False, False)
    )
    return value
