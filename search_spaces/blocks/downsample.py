"""Where a layer takes its stride: in its convolution, or in a pool after it that keeps more of the signal."""

from collections.abc import Callable, Mapping

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


def _none(b: Builder, name: str, x: Value, stride: int) -> Value:
    return x


DOWNSAMPLES: Mapping[str, Callable[[Builder, str, Value, int], Value]] = {
    "strided": _none,
    "pooled": average_pool,
    "blurred": blur_pool,
}
"""What follows a convolution in place of its stride; "strided" leaves the stride to the convolution."""


def unblurred_stride(downsample: str, stride: int) -> int:
    """The stride that is left to the convolution itself."""
    return stride if downsample == "strided" else 1


def downsampled(b: Builder, name: str, x: Value, downsample: str, stride: int) -> Value:
    """What follows a convolution (after its activation) to take the stride that it did not take itself."""
    return x if stride == 1 else DOWNSAMPLES[downsample](b, name, x, stride)
