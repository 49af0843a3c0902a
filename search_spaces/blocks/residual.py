"""Residual blocks of ResNet (He et al. 2016) and its relatives."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.cell_ops import relu_conv_bn
from search_spaces.blocks.conv import conv_bn, dropped
from search_spaces.blocks.downsample import DOWNSAMPLES, average_pool, blur_pool, conv_stride, polyphase
from search_spaces.blocks.norm import NORMS
from search_spaces.builder import Builder, Value


def bottleneck_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    reduction: int,
    activation: str,
    groups: int = 1,
    attention: str = "none",
    shortcut: str = "conv",
    downsample: str = "strided",
    norm: str = "batch",
    first_norm: str = "",
    sum_norm: str = "none",
    narrowing: int = 1,
    early_stride: bool = False,
    drop_path: float = 0.0,
) -> Value:
    """Pointwise, k x k with the stride, pointwise; activation after the sum (He et al. 2016, figure 5 right).

    The inner width is ``out_channels / reduction`` (the first convolution gives that over ``narrowing``), the
    k x k convolution has ``groups`` (ResNeXt: Xie et al. 2017, arXiv:1611.05431). The stride sits on the k x k
    convolution, with ``early_stride`` on the first one, as first published. ``shortcut`` (of ``SHORTCUTS``) is what
    the identity goes through where the shape changes, ``downsample`` (of ``DOWNSAMPLES``) what takes the stride of the
    k x k convolution; "polyphase" makes the same choice for both branches, and the projection then has stride 1.
    ``first_norm`` follows the first convolution in place of ``norm``, ``sum_norm`` the sum (IBN-a and IBN-b:
    Pan et al. 2018, arXiv:1807.09441, figure 3). ``drop_path`` is the share of samples without the branch in training.
    """
    inner = out_channels // reduction
    first, second = (stride, 1) if early_stride else (1, stride)
    y = conv_bn(b, "reduce", x, inner // narrowing, 1, first, activation=activation, norm=first_norm or norm)
    y = conv_bn(b, "spatial", y, inner, kernel, conv_stride(second, downsample), groups, activation, norm=norm)
    y, guide = _downsampled(b, "spatial", y, second, downsample)
    y = conv_bn(b, "expand", y, out_channels, 1, norm=norm)
    return _joined(b, x, y, stride, activation, attention, shortcut, norm, sum_norm, drop_path, guide)


def basic_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    activation: str,
    attention: str = "none",
    shortcut: str = "conv",
    downsample: str = "strided",
    norm: str = "batch",
    first_norm: str = "",
    sum_norm: str = "none",
    drop_path: float = 0.0,
) -> Value:
    """Two k x k convolutions, the first with the stride; activation after the sum (He et al. 2016, figure 5 left).

    The other arguments are those of ``bottleneck_residual``.
    """
    own = conv_stride(stride, downsample)
    y = conv_bn(b, "first", x, out_channels, kernel, own, activation=activation, norm=first_norm or norm)
    y, guide = _downsampled(b, "first", y, stride, downsample)
    y = conv_bn(b, "second", y, out_channels, kernel, norm=norm)
    return _joined(b, x, y, stride, activation, attention, shortcut, norm, sum_norm, drop_path, guide)


def _downsampled(b: Builder, name: str, x: Value, stride: int, downsample: str) -> tuple[Value, Value | None]:
    """``x`` after what takes the stride of its convolution, and what the shortcut has to choose by, if anything."""
    if stride == 1:
        return x, None
    return DOWNSAMPLES[downsample](b, name, x, stride), x if downsample == "polyphase" else None


def _joined(
    b: Builder,
    x: Value,
    y: Value,
    stride: int,
    activation: str,
    attention: str,
    shortcut: str,
    norm: str,
    sum_norm: str,
    drop_path: float,
    guide: Value | None,
) -> Value:
    """The branch ``y`` under attention, plus the identity, normalised and activated.

    ``guide`` is the map of which the branch took a polyphase component.
    """
    y = ATTENTIONS[attention](b, y, x.shape[0])
    if stride != 1 or x.shape[0] != y.shape[0]:
        if guide is not None:
            x, stride = polyphase(b, "shortcut", x, stride, guide), 1
        x = SHORTCUTS[shortcut](b, x, y.shape[0], stride, norm)
    y = NORMS[sum_norm](b, "sum", b.op("add", "add", x, dropped(b, y, drop_path)), 1e-5)
    return y if activation == "none" else b.op(activation, activation, y)


def _conv_shortcut(b: Builder, x: Value, out_channels: int, stride: int, norm: str) -> Value:
    return conv_bn(b, "shortcut", x, out_channels, 1, stride, norm=norm)


def _pool_shortcut(b: Builder, x: Value, out_channels: int, stride: int, norm: str) -> Value:
    x = average_pool(b, "shortcut", x, stride) if stride != 1 else x
    return conv_bn(b, "shortcut", x, out_channels, 1, norm=norm)


def _wide_conv_shortcut(b: Builder, x: Value, out_channels: int, stride: int, norm: str) -> Value:
    return conv_bn(b, "shortcut", x, out_channels, 1 if stride == 1 else 3, stride, norm=norm)


SHORTCUTS: Mapping[str, Callable[[Builder, Value, int, int, str], Value]] = {
    "conv": _conv_shortcut,
    # ResNet-D: He et al. 2019, Bag of Tricks, arXiv:1812.01187, section 4.2
    "pool": _pool_shortcut,
    # SENet-154: Hu et al. 2018, appendix
    "wide_conv": _wide_conv_shortcut,
}
"""The projection of the identity where the shape changes: a strided pointwise convolution, an average pool and a
pointwise one, or a 3 x 3 one where there is a stride."""


def resnet_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    activation: str,
    form: str = "single",
    pool: str = "max",
    norm: str = "batch",
) -> Value:
    """Strided convolution, norm, activation, and a pool of stride 2 (He et al. 2016, table 1).

    ``form`` "deep" is three 3 x 3 convolutions, the first two of half the width (ResNet-C: He et al. 2019, Bag of
    Tricks, section 4.2), "tiered" the same with three eighths in the first. ``pool`` is one of ``STEM_POOLS``.
    """
    if form == "single":
        x = conv_bn(b, "stem", x, out_channels, kernel, stride, activation=activation, norm=norm)
    else:
        widths = (out_channels // 2 if form == "deep" else out_channels // 8 * 3, out_channels // 2, out_channels)
        for i, width in enumerate(widths, 1):
            x = conv_bn(b, f"stem{i}", x, width, 3, stride if i == 1 else 1, activation=activation, norm=norm)
    return STEM_POOLS[pool](b, x, activation, norm)


def _no_pool(b: Builder, x: Value, activation: str, norm: str) -> Value:
    return x


def _max_pool(b: Builder, x: Value, activation: str, norm: str) -> Value:
    return b.pool("max_pool", "max_pool", x, 3, 2, 1)


def _max_pool_ceil(b: Builder, x: Value, activation: str, norm: str) -> Value:
    return b.pool("max_pool", "max_pool", x, 3, 2, ceil_mode=True)


def _max_blur_pool(b: Builder, x: Value, activation: str, norm: str) -> Value:
    return blur_pool(b, "max_pool", b.pool("max_pool.pool", "max_pool", x, 3, 1, 1))


def _avg_pool(b: Builder, x: Value, activation: str, norm: str) -> Value:
    return average_pool(b, "pool", x, 2)


def _conv_pool(b: Builder, x: Value, activation: str, norm: str) -> Value:
    return conv_bn(b, "pool", x, x.shape[0], 3, 2, activation=activation, norm=norm)


STEM_POOLS: Mapping[str, Callable[[Builder, Value, str, str], Value]] = {
    "none": _no_pool,
    "max": _max_pool,
    "max_ceil": _max_pool_ceil,
    "avg": _avg_pool,
    # Zhang 2019, arXiv:1904.11486, section 3.2: a dense maximum, then the blur
    "max_blur": _max_blur_pool,
    # ResNet-RS: Bello et al. 2021, arXiv:2103.07579, section 4.4
    "conv": _conv_pool,
}
"""What halves the size after the convolutions of a stem."""


def reduction_residual(b: Builder, x: Value, out_channels: int) -> Value:
    """The block between the stages of NAS-Bench-201 (Dong and Yang 2020, section 2.1): halves the size.

    Two pre-activated 3 x 3 convolutions, the first with stride 2; the shortcut is a 2 x 2 average pool
    and a pointwise convolution.
    """
    y = b.block("first", relu_conv_bn, x, out_channels, 3, 2)
    y = b.block("second", relu_conv_bn, y, out_channels, 3, 1)
    shortcut = b.pool("shortcut.pool", "avg_pool", x, 2, 2)
    shortcut = b.conv("shortcut.conv", shortcut, out_channels, 1)
    return b.op("add", "add", shortcut, y)
