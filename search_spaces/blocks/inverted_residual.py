"""The inverted residual of MobileNetV2 with the options of its successors."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import conv_bn
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def inverted_residual(
    b: Builder, x: Value, out_channels: int, kernel: int, expand: float, stride: int, attention: str, activation: str
) -> Value:
    """Pointwise expansion, depthwise convolution, linear projection; identity added where the shape stays.

    ``expand`` 1 leaves the expansion out; attention (of ``ATTENTIONS``) follows the depthwise activation.
    Sources: Sandler et al. 2018, section 3.3; Howard et al. 2019, section 5.3.
    """
    in_channels = x.shape[0]
    hidden = make_divisible(in_channels * expand)
    y = x
    if expand != 1:
        y = conv_bn(b, "expand", y, hidden, 1, activation=activation)
    else:
        hidden = in_channels
    y = conv_bn(b, "depthwise", y, hidden, kernel, stride, hidden, activation)
    y = ATTENTIONS[attention](b, y, in_channels)
    y = conv_bn(b, "project", y, out_channels, 1)
    return b.op("add", "add", x, y) if stride == 1 and in_channels == out_channels else y
