"""Large depthwise kernels made of parallel dilated ones: the block of UniRepLKNet."""

from collections.abc import Mapping

from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.blocks.patch import downsampled
from search_spaces.blocks.squeeze_excite import squeeze_excite
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph

DILATED: Mapping[int, tuple[tuple[int, int], ...]] = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
"""The kernel and dilation of each branch beside a large kernel (Ding et al. 2024, table 1 and appendix)."""


def dilated_parallel(b: Builder, name: str, x: Value, kernel: int) -> Value:
    """The sum of a depthwise K x K convolution and dilated smaller ones, each with batch norm.

    Deploys to one depthwise K x K convolution. A part of a block. Source: Ding et al. 2024, UniRepLKNet, section 3.1.
    Raises: InvalidGraph for a kernel that ``DILATED`` does not list.
    """
    if kernel not in DILATED:
        raise InvalidGraph(f"a dilated block of kernel {kernel}", hint=f"one of {list(DILATED)}")
    channels = x.shape[0]
    terms = [conv_bn(b, f"{name}.large", x, channels, kernel, groups=channels)]
    for small, dilation in DILATED[kernel]:
        part = f"{name}.kernel{small}_dilation{dilation}"
        terms.append(conv_bn(b, part, x, channels, small, groups=channels, dilation=dilation))
    return b.op(f"{name}.add", "add", *terms)


def unireplknet_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 13,
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "gelu",
    layer_scale: float = 1e-6,
) -> Value:
    """x + layer scale (MLP(SE(BN(depthwise(x))))) with response norm in the perceptron.

    Kernels from 7 are ``dilated_parallel``, smaller ones plain. Where the stride or the channels change a 3 x 3
    convolution and a layer norm come first. Source: Ding et al. 2024, UniRepLKNet, arXiv:2311.15599, figure 2.
    """
    x = downsampled(b, x, out_channels, 3, stride)
    if kernel >= 7:
        y = dilated_parallel(b, "depthwise", x, kernel)
    else:
        y = b.conv("depthwise.conv", x, out_channels, kernel, groups=out_channels)
    y = b.batch_norm("depthwise.bn", y)
    y = b.block("squeeze_excite", squeeze_excite, y, max(1, out_channels // 4), "relu", "sigmoid")
    y = b.conv("expand.conv", y, int(out_channels * mlp_ratio), 1, bias=True)
    y = activate(b, "expand", y, activation)
    y = b.op("response_norm", "response_norm", y, axis=0, eps=1e-6)
    y = conv_bn(b, "project", y, out_channels, 1)
    y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, y)
