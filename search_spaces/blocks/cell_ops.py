"""What a node of a cell does to an earlier state (Zoph et al. 2018, NASNet, arXiv:1707.07012, section 3)."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from search_spaces.blocks.conv import PADDINGS
from search_spaces.builder import Builder, Value


def relu_conv_bn(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    padding: str = "symmetric",
    eps: float = 1e-5,
    dilation: int = 1,
) -> Value:
    """ReLU, convolution, batch norm. ``padding`` is one of ``PADDINGS``."""
    x = b.op("relu", "relu", x)
    x, pads = PADDINGS[padding](b, "pad", x, dilation * (kernel - 1) + 1, stride)
    x = b.conv("conv", x, out_channels, kernel, stride, dilation=dilation, padding=pads)
    return b.batch_norm("bn", x, eps)


def stacked_separable(
    b: Builder, x: Value, out_channels: int, kernel: int, stride: int, padding: str = "symmetric", eps: float = 1e-5
) -> Value:
    """ReLU, depthwise and pointwise convolution, batch norm, all of it twice; the stride is in the first."""
    for name, step in (("first", stride), ("second", 1)):
        x = b.op(f"{name}.relu", "relu", x)
        x, pads = PADDINGS[padding](b, f"{name}.pad", x, kernel, step)
        x = b.conv(f"{name}.depthwise", x, x.shape[0], kernel, step, x.shape[0], padding=pads)
        x = b.conv(f"{name}.pointwise", x, out_channels, 1)
        x = b.batch_norm(f"{name}.bn", x, eps)
    return x


def split_conv(
    b: Builder, x: Value, out_channels: int, kernel: int, stride: int, padding: str = "symmetric", eps: float = 1e-5
) -> Value:
    """A 1 x k convolution, then a k x 1 one, each after a ReLU and before batch norm."""
    for name, size, step in (("wide", (1, kernel), (1, stride)), ("high", (kernel, 1), (stride, 1))):
        x = b.op(f"{name}.relu", "relu", x)
        x, pads = PADDINGS[padding](b, f"{name}.pad", x, size, stride)
        x = b.conv(f"{name}.conv", x, out_channels, size, step, padding=pads)
        x = b.batch_norm(f"{name}.bn", x, eps)
    return x


def projected_pool(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    padding: str = "symmetric",
    eps: float = 1e-5,
    kind: str = "avg_pool",
) -> Value:
    """``max_pool`` or ``avg_pool``; where the width changes a pointwise convolution and batch norm follow."""
    axes = len(x.shape) - 1
    totals = [kernel - 1 if padding == "symmetric" else 0] * axes
    if padding == "same":
        totals = [max(kernel - (n % stride or stride), 0) for n in x.shape[1:]]
    attrs: dict[str, Any] = {"kernel": (kernel,) * axes, "stride": (stride,) * axes}
    attrs["padding"] = tuple([total // 2 for total in totals])
    if any(total % 2 for total in totals):
        attrs["ceil_mode"] = True  # the odd one goes last: a window that reaches over the edge
    x = b.op(kind, kind, x, **attrs)
    if x.shape[0] == out_channels:
        return x
    return b.batch_norm("bn", b.conv("conv", x, out_channels, 1), eps)


def identity(
    b: Builder, x: Value, out_channels: int, kernel: int, stride: int, padding: str = "symmetric", eps: float = 1e-5
) -> Value:
    """The input as it is; ReLU, pointwise convolution and batch norm where the shape changes. ``kernel`` is 1."""
    if stride == 1 and x.shape[0] == out_channels:
        return x
    return relu_conv_bn(b, x, out_channels, kernel, stride, padding, eps)


def factorized_reduction(b: Builder, x: Value, out_channels: int, eps: float = 1e-5, activation: str = "none") -> Value:
    """Halves the size by two pointwise convolutions of stride 2, the second on the input shifted by one pixel."""
    if activation != "none":
        x = b.op(activation, activation, x)
    axes = len(x.shape) - 1
    shifted = b.op("shift", "pad", x, before=(-1,) * axes, after=(1,) * axes)
    half = out_channels // 2
    paths = [
        b.conv(f"{name}.conv", b.pool(f"{name}.pool", "avg_pool", source, 1, 2), channels, 1)
        for name, source, channels in (("first", x, half), ("second", shifted, out_channels - half))
    ]
    return b.batch_norm("bn", b.op("concat", "concat", *paths), eps)


class Operation(NamedTuple):
    """A block with the arguments (input, out_channels, kernel, stride, padding, eps, ...), its kernel and the rest."""

    function: Callable[..., Value]
    kernel: int
    rest: tuple[Any, ...] = ()


CELL_OPERATIONS: Mapping[str, Operation] = {
    "identity": Operation(identity, 1),
    "avg_pool_3x3": Operation(projected_pool, 3, ("avg_pool",)),
    "max_pool_3x3": Operation(projected_pool, 3, ("max_pool",)),
    "max_pool_5x5": Operation(projected_pool, 5, ("max_pool",)),
    "max_pool_7x7": Operation(projected_pool, 7, ("max_pool",)),
    "conv_1x1": Operation(relu_conv_bn, 1),
    "sep_conv_3x3": Operation(stacked_separable, 3),
    "sep_conv_5x5": Operation(stacked_separable, 5),
    "sep_conv_7x7": Operation(stacked_separable, 7),
    "conv_1x3_3x1": Operation(split_conv, 3),
    "conv_3x3": Operation(relu_conv_bn, 3),
    "dil_conv_3x3": Operation(relu_conv_bn, 3, (2,)),
    "conv_1x7_7x1": Operation(split_conv, 7),
}
"""The thirteen operations of NASNet, in order of rising cost."""
