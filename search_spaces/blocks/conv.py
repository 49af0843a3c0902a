"""Plain, grouped, atrous and depthwise separable convolutions."""

from search_spaces.blocks.norm import NORMS
from search_spaces.builder import Builder, Value


def activate(b: Builder, name: str, x: Value, activation: str) -> Value:
    """Appends the activation below ``name``; "none" appends nothing."""
    if activation == "none":
        return x
    return b.op(f"{name}.{activation}", activation, x)


def conv_bn(
    b: Builder,
    name: str,
    x: Value,
    out_channels: int,
    kernel: int | tuple[int, ...],
    stride: int = 1,
    groups: int = 1,
    activation: str = "none",
    *,
    dilation: int = 1,
    padding: tuple[int, ...] | None = None,
    bias: bool = False,
    norm: str = "batch",
    eps: float = 1e-5,
) -> Value:
    """Convolution, norm (batch by default) and activation below one name: a part of a block, not a block."""
    x = b.conv(f"{name}.conv", x, out_channels, kernel, stride, groups, dilation, bias, padding)
    x = NORMS[norm](b, name, x, eps)
    return activate(b, name, x, activation)


def conv_bn_act(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    activation: str,
    groups: int = 1,
    dilation: int = 1,
) -> Value:
    """Convolution, batch norm, activation: stems, heads, and plain layers, grouped or atrous if so told."""
    x = b.conv("conv", x, out_channels, kernel, stride, groups, dilation)
    x = b.batch_norm("bn", x)
    return x if activation == "none" else b.op(activation, activation, x)


def depthwise_separable(b: Builder, x: Value, out_channels: int, kernel: int, stride: int, activation: str) -> Value:
    """Depthwise then pointwise convolution, each with batch norm and activation (Howard et al. 2017, MobileNets)."""
    x = conv_bn(b, "depthwise", x, x.shape[0], kernel, stride, x.shape[0], activation)
    return conv_bn(b, "pointwise", x, out_channels, 1, activation=activation)
