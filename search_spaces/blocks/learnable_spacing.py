"""Convolution with learnable spacings: few taps in a large window, at positions that are learned."""

from search_spaces.blocks.mlp import mlp
from search_spaces.blocks.patch import downsampled
from search_spaces.builder import Builder, Value


def learnable_spacing(b: Builder, x: Value, kernel: int = 17, taps: int = 34) -> Value:
    """Depthwise convolution of ``taps`` weights a channel at real positions in a ``kernel`` x ``kernel`` window.

    Each weight is spread over its four neighbours on the grid; deploys to a plain depthwise convolution of that
    window. Source: Khalfaoui-Hassani et al. 2023, DCLS, arXiv:2112.03740, section 3.
    """
    channels = x.shape[0]
    return b.op(
        "conv",
        "spaced_conv",
        x,
        out_channels=channels,
        kernel=(kernel, kernel),
        taps=taps,
        stride=(1, 1),
        padding=(kernel // 2, kernel // 2),
        groups=channels,
        bias=True,
    )


def learnable_spacing_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 17,
    taps: int = 34,
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "gelu",
    layer_scale: float = 1e-6,
) -> Value:
    """The block of ConvNeXt with learnable spacings in place of its 7 x 7 convolution (ibid., section 4.1).

    x + layer scale (MLP(norm(depthwise(x)))). Where the stride or the channels change, a norm and a convolution
    over patches of the size of the stride come first.
    """
    x = downsampled(b, x, out_channels, stride, stride, norm_first=True)
    y = b.block("depthwise", learnable_spacing, x, kernel, taps)
    y = b.layer_norm("norm", y)
    y = b.block("mlp", mlp, y, mlp_ratio, activation)
    y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, y)
