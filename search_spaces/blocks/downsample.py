"""Where a layer takes its stride: in its convolution, or in a pool after it that keeps more of the signal."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.conv import conv_bn
from search_spaces.builder import Builder, Value


def blur_pool(b: Builder, name: str, x: Value, stride: int = 2, kernel: int = 3, reflect: bool = True) -> Value:
    """A fixed binomial filter of each channel, read at every ``stride``-th position.

    ``kernel`` is the number of taps an axis; borders are reflected, or zero. Source: Zhang 2019, Making
    Convolutional Networks Shift-Invariant Again, arXiv:1904.11486, section 3.2.
    """
    axes = len(x.shape) - 1
    return b.op(f"{name}.blur", "blur_pool", x, kernel=(kernel,) * axes, stride=(stride,) * axes, reflect=reflect)


def average_pool(b: Builder, name: str, x: Value, stride: int) -> Value:
    """The mean of windows as large as the stride (He et al. 2019, Bag of Tricks, arXiv:1812.01187, section 4.2)."""
    return b.pool(f"{name}.pool", "avg_pool", x, stride, stride, ceil_mode=True)


def _nothing(b: Builder, name: str, x: Value, stride: int) -> Value:
    return x


DOWNSAMPLES: Mapping[str, Callable[[Builder, str, Value, int], Value]] = {
    "strided": _nothing,
    "pooled": average_pool,
    "blurred": blur_pool,
}
"""What takes the stride of a convolution after its activation; "strided" leaves it to the convolution itself."""


def downsampling_conv_bn(
    b: Builder,
    name: str,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    groups: int,
    activation: str,
    downsample: str,
    norm: str = "batch",
) -> Value:
    """``conv_bn`` whose stride is taken as ``downsample`` (of ``DOWNSAMPLES``) says."""
    own = stride if downsample == "strided" else 1
    x = conv_bn(b, name, x, out_channels, kernel, own, groups, activation, norm=norm)
    return x if stride == 1 else DOWNSAMPLES[downsample](b, name, x, stride)
