"""What takes the stride of a convolution: the convolution itself, or a step after it that keeps more of the signal."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def average_pool(b: Builder, name: str, x: Value, stride: int) -> Value:
    """The mean of windows as large as the stride (He et al. 2019, Bag of Tricks, arXiv:1812.01187, section 4.2)."""
    return b.pool(f"{name}.pool", "avg_pool", x, stride, stride, ceil_mode=True)


def blur_pool(b: Builder, name: str, x: Value, stride: int = 2, kernel: int = 3, reflect: bool = True) -> Value:
    """A fixed binomial filter of each channel, read at every ``stride``-th position.

    ``kernel`` is the number of taps an axis; borders are reflected, or zero. Source: Zhang 2019, Making
    Convolutional Networks Shift-Invariant Again, arXiv:1904.11486, section 3.2.
    """
    axes = len(x.shape) - 1
    return b.op(f"{name}.blur", "blur_pool", x, kernel=(kernel,) * axes, stride=(stride,) * axes, reflect=reflect)


def polyphase(b: Builder, name: str, x: Value, stride: int = 2, guide: Value | None = None) -> Value:
    """Of the components at even and odd positions of each axis, for each sample the one of the largest L2 norm.

    What is kept moves with the input, so that a shift of the input shifts the output. ``guide``, of the size of ``x``,
    makes the choice in its place: the two branches of a residual block take the same. An axis of odd size goes on
    with its first position. Source: Chaman and Dokmanic 2021, Truly Shift-Invariant Convolutional Neural Networks,
    arXiv:2011.14214, sections 4.1 and 4.3. Raises: InvalidGraph for another stride than 2.
    """
    if stride != 2:
        raise InvalidGraph(f"polyphase downsampling with stride {stride}", hint="stride 2, or another downsampling")
    return b.op(f"{name}.polyphase", "polyphase", *((x,) if guide is None else (x, guide)))


def _nothing(b: Builder, name: str, x: Value, stride: int) -> Value:
    return x


DOWNSAMPLES: Mapping[str, Callable[[Builder, str, Value, int], Value]] = {
    "strided": _nothing,
    "pooled": average_pool,
    "blurred": blur_pool,
    "blurred_zeros": partial(blur_pool, reflect=False),
    "polyphase": polyphase,
}
"""What takes the stride of a convolution, after its activation; "strided" leaves it to the convolution itself.

All of them give the same sizes.
"""


def conv_stride(stride: int, downsample: str) -> int:
    """The stride that is left to the convolution."""
    return stride if downsample == "strided" else 1
