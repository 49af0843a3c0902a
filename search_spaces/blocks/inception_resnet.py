"""The residual blocks of Inception-ResNet-v2."""

from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.inception import branches
from search_spaces.blocks.inception_cells import CELLS
from search_spaces.builder import Builder, Value


def inception_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    cell: str,
    expand: float,
    scale: float = 0.2,
    stride: int = 1,
    activation: str = "relu",
    ended: bool = True,
    eps: float = 1e-3,
) -> Value:
    """Branches, a pointwise convolution with bias, times ``scale``, plus the identity, activation.

    ``cell`` is ``resnet_a``, ``resnet_b`` or ``resnet_c``; its branches have ``expand`` times ``out_channels`` in
    all. ``ended`` false leaves out the last activation. Where the shape changes the identity goes through a strided
    pointwise convolution with norm. Source: Szegedy et al. 2017, arXiv:1602.07261, section 3.3 and figures 16 to 19.
    """
    inner = max(1, round(out_channels * expand))
    y = b.op("concat", "concat", *branches(b, x, inner, CELLS[cell], stride, "symmetric", activation, eps))
    y = b.conv("project", y, out_channels, 1, bias=True)
    if scale != 1:
        y = b.op("scale", "multiply", y, factor=scale)
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "shortcut", x, out_channels, 1, stride, eps=eps)
    y = b.op("add", "add", x, y)
    return b.op(activation, activation, y) if ended else y
