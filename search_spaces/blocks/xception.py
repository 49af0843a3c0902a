"""Blocks of Xception and of its aligned and pre-activated successors: residuals of separable convolutions."""

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.builder import Builder, Value


def separable_conv_bn(
    b: Builder,
    name: str,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    activation: str = "none",
    *,
    inner_norm: str = "none",
    inner_activation: str = "none",
    eps: float = 1e-5,
) -> Value:
    """Depthwise and pointwise convolution, norm, activation below one name: a part of a block, not a block."""
    channels = x.shape[0]
    x = conv_bn(
        *(b, f"{name}.depthwise", x, channels, kernel, stride, channels, inner_activation), norm=inner_norm, eps=eps
    )
    return conv_bn(b, f"{name}.pointwise", x, out_channels, 1, activation=activation, eps=eps)


def xception_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 2,
    activation: str = "relu",
    padding: str = "symmetric",
    eps: float = 1e-5,
    bare: bool = False,
) -> Value:
    """Two 3 x 3 convolutions, the first with the stride and half of the channels (Chollet 2017, figure 5).

    ``bare`` leaves out norm and activation of the second, for blocks that start with them.
    """
    x = conv_bn(b, "conv1", x, out_channels // 2, 3, stride, activation=activation, padding=padding, eps=eps)
    norm, activation = ("none", "none") if bare else ("batch", activation)
    return conv_bn(b, "conv2", x, out_channels, 3, activation=activation, padding=padding, norm=norm, eps=eps)


def separable_conv(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    activation: str = "relu",
    between: str = "none",
    eps: float = 1e-5,
) -> Value:
    """Depthwise and pointwise convolution, norm, activation, and nothing between the two (Chollet 2017, section 4.7).

    ``between`` "norm" has a norm between the two, "activation" a norm and an activation, as the last layers of the
    aligned Xception (Chen et al. 2018, DeepLabv3+, arXiv:1802.02611, section 3.2).
    """
    norm = "none" if between == "none" else "batch"
    inner = activation if between == "activation" else "none"
    return separable_conv_bn(
        *(b, "conv", x, out_channels, kernel, stride, activation), inner_norm=norm, inner_activation=inner, eps=eps
    )


def xception_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    layers: int = 3,
    widen: int = 1,
    activation: str = "relu",
    opened: bool = True,
    aligned: bool = False,
    eps: float = 1e-5,
) -> Value:
    """Activation, separable convolution and norm ``layers`` times, plus the identity (Chollet 2017, figure 5).

    Layer ``widen`` is the first of ``out_channels``; ``opened`` false leaves the first activation out. A stride is
    taken by a 3 x 3 max pool, or where ``aligned`` by the last depthwise convolution, and each of these has a norm
    of its own then (Chen et al. 2018, DeepLabv3+, figure 4). Where the shape changes the identity is a strided
    pointwise convolution with norm.
    """
    inner_norm = "batch" if aligned else "none"
    y = x
    for i in range(1, layers + 1):
        if i > 1 or opened:
            y = activate(b, f"layer{i}", y, activation)
        width = x.shape[0] if i < widen else out_channels
        own = stride if aligned and i == layers else 1
        y = separable_conv_bn(b, f"layer{i}", y, width, kernel, own, inner_norm=inner_norm, eps=eps)
    if stride != 1 and not aligned:
        y = b.pool("max_pool", "max_pool", y, 3, stride, 1)
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "shortcut", x, out_channels, 1, stride, eps=eps)
    return b.op("add", "add", x, y)


def xception_preact(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    layers: int = 3,
    widen: int = 1,
    activation: str = "relu",
    residual: bool = True,
    eps: float = 1e-5,
) -> Value:
    """Norm, activation and separable convolution ``layers`` times, plus the input after the first activation.

    The aligned Xception with pre-activation (He et al. 2016, Identity Mappings, arXiv:1603.05027, figure 4e): the
    identity goes through a pointwise convolution without norm where the shape changes. The last depthwise
    convolution has the stride; layer ``widen`` is the first of ``out_channels``.
    """
    y = x
    for i in range(1, layers + 1):
        y = activate(b, f"layer{i}", b.batch_norm(f"layer{i}.bn", y, eps), activation)
        if i == 1:
            x = y
        width, own = x.shape[0] if i < widen else out_channels, stride if i == layers else 1
        y = b.conv(f"layer{i}.depthwise", y, y.shape[0], kernel, own, y.shape[0])
        y = b.conv(f"layer{i}.pointwise", y, width, 1)
    if not residual:
        return y
    if x.shape != y.shape:
        x = b.conv("shortcut", x, out_channels, 1, stride)
    return b.op("add", "add", x, y)
