"""The inverted residual of MobileNetV2 with the options of its successors, and its fused form."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import channel_shuffle, conv_bn, dropped
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def inverted_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    expand: float,
    stride: int,
    attention: str,
    activation: str,
    groups: int = 1,
    full: bool = False,
    residual: bool = True,
    norm: str = "batch",
    eps: float = 1e-5,
    padding: str = "symmetric",
    downsample: str = "strided",
    drop_path: float = 0.0,
) -> Value:
    """Pointwise expansion, depthwise convolution, linear projection; identity added where the shape stays.

    ``expand`` 1 leaves the expansion out unless ``full``; attention (of ``ATTENTIONS``) follows the depthwise
    activation; both pointwise convolutions have ``groups``, with a channel shuffle after the first; ``residual``
    false never adds the identity. ``downsample`` (of ``DOWNSAMPLES``) takes the stride of the depthwise convolution,
    ``drop_path`` is the share of samples without the branch where there is an identity. Sources: Sandler et al. 2018,
    section 3.3; Howard et al. 2019, section 5.3; groups: Wu et al. 2019, FBNet, section 3.1.
    """
    in_channels = x.shape[0]
    hidden = make_divisible(in_channels * expand)
    y = x
    if full or expand != 1:
        y = conv_bn(b, "expand", y, hidden, 1, groups=groups, activation=activation, norm=norm, eps=eps)
        if groups > 1:
            y = channel_shuffle(b, "shuffle", y, groups)
    else:
        hidden = in_channels
    y = conv_bn(
        *(b, "depthwise", y, hidden, kernel, stride, hidden, activation),
        padding=padding,
        norm=norm,
        eps=eps,
        downsample=downsample,
    )
    y = ATTENTIONS[attention](b, y, in_channels)
    y = conv_bn(b, "project", y, out_channels, 1, groups=groups, norm=norm, eps=eps)
    if residual and stride == 1 and in_channels == out_channels:
        return b.op("add", "add", x, dropped(b, y, drop_path))
    return y


def fused_inverted_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    expand: float,
    stride: int,
    attention: str = "none",
    activation: str = "silu",
    group_width: int = 0,
    full: bool = False,
    residual: bool = True,
    norm: str = "batch",
    eps: float = 1e-5,
    padding: str = "symmetric",
    downsample: str = "strided",
    drop_path: float = 0.0,
) -> Value:
    """An inverted residual whose expansion and depthwise convolution are one k x k convolution.

    ``expand`` 1 is that convolution alone, straight to ``out_channels``, unless ``full``; ``group_width`` is the
    number of its outputs a group (0: no groups). ``downsample`` and ``drop_path`` are those of ``inverted_residual``.
    Sources: Gupta and Akin 2020, arXiv:2003.02838; Tan and Le 2021, EfficientNetV2, figure 2; groups: Akin et al.
    2022, arXiv:2204.14007.
    """
    in_channels = x.shape[0]
    fused = not full and expand == 1
    hidden = out_channels if fused else make_divisible(in_channels * expand)
    groups = max(1, hidden // group_width) if group_width else 1
    y = conv_bn(
        *(b, "fused", x, hidden, kernel, stride, groups, activation),
        padding=padding,
        norm=norm,
        eps=eps,
        downsample=downsample,
    )
    y = ATTENTIONS[attention](b, y, in_channels)
    if not fused:
        y = conv_bn(b, "project", y, out_channels, 1, norm=norm, eps=eps)
    if residual and stride == 1 and in_channels == out_channels:
        return b.op("add", "add", x, dropped(b, y, drop_path))
    return y


def identity_or_conv(
    b: Builder, x: Value, out_channels: int, stride: int, activation: str = "relu", eps: float = 1e-5
) -> Value:
    """The input itself, or a pointwise convolution, norm and activation where the shape changes.

    The layer that a search leaves out (Wu et al. 2019, FBNet, arXiv:1812.03443, section 3.1).
    """
    if stride == 1 and x.shape[0] == out_channels:
        return x
    return conv_bn(b, "conv", x, out_channels, 1, stride, activation=activation, eps=eps)
