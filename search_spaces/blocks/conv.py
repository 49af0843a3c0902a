"""Plain, grouped and atrous convolutions, and the parts that other blocks are made of."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.downsample import DOWNSAMPLES, conv_stride
from search_spaces.blocks.norm import NORMS
from search_spaces.builder import Builder, Value, per_axis

Padding = tuple[int, ...] | None


def activate(b: Builder, name: str, x: Value, activation: str) -> Value:
    """Appends the activation below ``name``; "none" appends nothing."""
    if activation == "none":
        return x
    return b.op(f"{name}.{activation}", activation, x)


def _symmetric(b: Builder, name: str, x: Value, kernel: int | tuple[int, ...], stride: int) -> tuple[Value, Padding]:
    return x, None


def _same(b: Builder, name: str, x: Value, kernel: int | tuple[int, ...], stride: int) -> tuple[Value, Padding]:
    axes = len(x.shape) - 1
    kernels = per_axis(kernel, axes)
    totals = [max(k - (n % stride or stride), 0) for n, k in zip(x.shape[1:], kernels, strict=True)]
    odd = tuple([total % 2 for total in totals])
    if any(odd):
        x = b.op(name, "pad", x, before=(0,) * axes, after=odd)
    return x, tuple([total // 2 for total in totals])


def _valid(b: Builder, name: str, x: Value, kernel: int | tuple[int, ...], stride: int) -> tuple[Value, Padding]:
    return x, (0,) * (len(x.shape) - 1)


PADDINGS: Mapping[str, Callable[[Builder, str, Value, int | tuple[int, ...], int], tuple[Value, Padding]]] = {
    "symmetric": _symmetric,
    "same": _same,
    "valid": _valid,
}
"""Where the zeros around the input of a convolution go: as many on both sides, or ("same") just as many as
``ceil(size / stride)`` outputs need, the odd one last, as TensorFlow has it, or ("valid") none."""


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
    padding: tuple[int, ...] | str | None = None,
    bias: bool = False,
    norm: str = "batch",
    eps: float = 1e-5,
    downsample: str = "strided",
) -> Value:
    """Convolution, norm (batch by default) and activation below one name: a part of a block, not a block.

    ``padding`` is one number an axis or one of ``PADDINGS``, ``downsample`` (of ``DOWNSAMPLES``) what takes the stride.
    """
    own = conv_stride(stride, downsample)
    if isinstance(padding, str):
        x, padding = PADDINGS[padding](b, f"{name}.pad", x, kernel, own)
    x = b.conv(f"{name}.conv", x, out_channels, kernel, own, groups, dilation, bias, padding)
    x = NORMS[norm](b, name, x, eps)
    x = activate(b, name, x, activation)
    return x if own == stride else DOWNSAMPLES[downsample](b, name, x, stride)


def dropped(b: Builder, x: Value, drop_path: float, name: str = "drop_path") -> Value:
    """A branch that training leaves out for a share ``drop_path`` of the samples; 0 appends nothing.

    Source: Huang et al. 2016, Deep Networks with Stochastic Depth, arXiv:1603.09382, section 3.
    """
    return b.op(name, "drop_path", x, p=drop_path) if drop_path else x


def channel_shuffle(b: Builder, name: str, x: Value, groups: int) -> Value:
    """Deals the channels of each group out over all groups (Zhang et al. 2018, ShuffleNet, arXiv:1707.01083)."""
    channels, *size = x.shape
    x = b.op(f"{name}.split", "reshape", x, shape=(groups, channels // groups, *size))
    x = b.op(f"{name}.turn", "transpose", x, axes=(1, 0, *range(2, 2 + len(size))))
    return b.op(f"{name}.join", "reshape", x, shape=(channels, *size))


def conv_bn_act(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    activation: str,
    groups: int = 1,
    dilation: int = 1,
    eps: float = 1e-5,
    padding: str = "symmetric",
    downsample: str = "strided",
) -> Value:
    """Convolution, batch norm, activation: stems, heads, and plain layers, grouped or atrous if so told.

    ``downsample`` (of ``DOWNSAMPLES``) takes the stride.
    """
    own = conv_stride(stride, downsample)
    x, pads = PADDINGS[padding](b, "pad", x, kernel, own)
    x = b.conv("conv", x, out_channels, kernel, own, groups, dilation, padding=pads)
    x = b.batch_norm("bn", x, eps)
    x = x if activation == "none" else b.op(activation, activation, x)
    return x if own == stride else DOWNSAMPLES[downsample](b, "down", x, stride)


def pooled_conv_act(b: Builder, x: Value, out_channels: int, activation: str, bias: bool = True) -> Value:
    """Global average pooling, a pointwise convolution without norm, activation: features for a classifier.

    Source: Howard et al. 2019, MobileNetV3, section 5.1.
    """
    x = b.op("pool", "global_avg_pool", x)
    x = b.conv("conv", x, out_channels, 1, bias=bias)
    return x if activation == "none" else b.op(activation, activation, x)
