"""One-shot aggregation of VoVNet: a chain of convolutions whose outputs are joined once, at its end."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.xception import separable_conv_bn
from search_spaces.builder import Builder, Value


def _full(b: Builder, name: str, x: Value, out_channels: int, kernel: int, stride: int, activation: str) -> Value:
    return conv_bn(b, name, x, out_channels, kernel, stride, activation=activation)


def _separable(b: Builder, name: str, x: Value, out_channels: int, kernel: int, stride: int, activation: str) -> Value:
    return separable_conv_bn(b, name, x, out_channels, kernel, stride, activation)


CONVOLUTIONS: Mapping[str, Callable[[Builder, str, Value, int, int, int, str], Value]] = {
    "separable": _separable,
    "full": _full,
}
"""What the convolutions of the chain are."""


def one_shot_aggregation(
    b: Builder,
    x: Value,
    out_channels: int,
    inner: int,
    layers: int,
    stride: int = 1,
    kernel: int = 3,
    convolution: str = "full",
    identity: bool = False,
    attention: str = "none",
    attended: bool = True,
    activation: str = "relu",
) -> Value:
    """``layers`` convolutions to ``inner`` channels in a chain; a pointwise one reads the input and all of them.

    A stride is taken by a 3 x 3 max pool in front. ``convolution`` is one of ``CONVOLUTIONS``; separable ones start
    from a pointwise convolution where the input has not ``inner`` channels. ``identity`` adds the input where the
    shape stays; ``attended`` false leaves the attention out, as VoVNet has it in the last block of a stage alone.
    Sources: Lee et al. 2019, arXiv:1904.09730, section 3.2; identity and effective squeeze-and-excitation: Lee and
    Park 2020, arXiv:1911.06667, section 3.3.
    """
    if stride != 1:
        x = b.pool("max_pool", "max_pool", x, 3, stride, ceil_mode=True)
    y = x
    if convolution == "separable" and x.shape[0] != inner:
        y = conv_bn(b, "reduce", x, inner, 1, activation=activation)
    joined = [x]
    for i in range(1, layers + 1):
        y = CONVOLUTIONS[convolution](b, f"layer{i}", y, inner, kernel, 1, activation)
        joined.append(y)
    y = conv_bn(b, "aggregate", b.op("concat", "concat", *joined), out_channels, 1, activation=activation)
    if attended:
        y = ATTENTIONS[attention](b, y, x.shape[0])
    return b.op("add", "add", x, y) if identity and x.shape == y.shape else y


def vovnet_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 4,
    inner: int = 64,
    convolution: str = "full",
    activation: str = "relu",
) -> Value:
    """Three 3 x 3 convolutions; the first takes a stride of 2, the third what is left of it.

    ``convolution`` is what the last two are. Source: Lee et al. 2019, arXiv:1904.09730, table 2.
    """
    first = min(stride, 2)
    x = conv_bn(b, "conv1", x, inner, 3, first, activation=activation)
    x = CONVOLUTIONS[convolution](b, "conv2", x, inner, 3, 1, activation)
    return CONVOLUTIONS[convolution](b, "conv3", x, out_channels, 3, stride // first, activation)
