"""The block of RepViT, and heads that normalise the features first."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.norm import batch_norm
from search_spaces.builder import Builder, Value
from search_spaces.task import pooled


def repvit_stem(b: Builder, x: Value, out_channels: int, stride: int = 4, activation: str = "gelu") -> Value:
    """Two 3 x 3 convolutions that share a stride of up to 4, the first of half the width (Wang et al. 2024, 3.3)."""
    first = min(stride, 2)
    x = conv_bn(b, "first", x, out_channels // 2, 3, first, activation=activation)
    return conv_bn(b, "second", x, out_channels, 3, stride // first)


def depthwise_mixer(b: Builder, name: str, x: Value, kernel: int, norm_last: bool) -> Value:
    """Depthwise k x k and 1 x 1 convolution and the input in parallel; deploys to one depthwise k x k.

    ``norm_last``: the 1 x 1 convolution has a bias and the sum a batch norm; otherwise the 1 x 1 convolution has
    a batch norm, as the k x k one always does. A part of a block.
    """
    channels = x.shape[0]
    large = conv_bn(b, f"{name}.spatial", x, channels, kernel, groups=channels)
    if not norm_last:
        small = conv_bn(b, f"{name}.pointwise", x, channels, 1, groups=channels)
        return b.op(f"{name}.add", "add", large, small, x)
    small = b.conv(f"{name}.pointwise.conv", x, channels, 1, groups=channels, bias=True)
    return batch_norm(b, name, b.op(f"{name}.add", "add", large, small, x), 1e-5)


def residual_mlp(b: Builder, name: str, x: Value, mlp_ratio: float, activation: str) -> Value:
    """x plus two pointwise convolutions with batch norm. A part of a block."""
    y = conv_bn(b, f"{name}.expand", x, int(x.shape[0] * mlp_ratio), 1, activation=activation)
    y = conv_bn(b, f"{name}.project", y, x.shape[0], 1)
    return b.op(f"{name}.add", "add", x, y)


def repvit_downsample(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    mlp_ratio: float = 2.0,
    stride: int = 2,
    activation: str = "gelu",
    norm_last: bool = True,
) -> Value:
    """A block, a strided depthwise convolution, a pointwise one, and a perceptron (Wang et al. 2024, section 3.3)."""
    channels = x.shape[0]
    x = b.block("before", repvit_block, x, channels, kernel, mlp_ratio, 1, "none", activation, norm_last)
    x = conv_bn(b, "spatial", x, channels, kernel, stride, channels)
    x = conv_bn(b, "channel", x, out_channels, 1)
    return residual_mlp(b, "mlp", x, mlp_ratio, activation)


def repvit_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    mlp_ratio: float = 2.0,
    stride: int = 1,
    attention: str = "none",
    activation: str = "gelu",
    norm_last: bool = True,
) -> Value:
    """Depthwise mixer, attention, perceptron with a residual (Wang et al. 2024, RepViT, arXiv:2307.09283, 3.2).

    Where the stride or the channels change, a downsampling layer comes first. ``norm_last``: see
    ``depthwise_mixer``; the first version of the networks has it false.
    """
    if stride != 1 or x.shape[0] != out_channels:
        x = b.block("downsample", repvit_downsample, x, out_channels, kernel, mlp_ratio, stride, activation, norm_last)
    x = depthwise_mixer(b, "mixer", x, kernel, norm_last)
    x = ATTENTIONS[attention](b, x, out_channels)
    return residual_mlp(b, "mlp", x, mlp_ratio, activation)


def normed_classifier(b: Builder, x: Value, classes: int) -> Value:
    """Global average pooling, batch norm, a linear layer (Graham et al. 2021, LeViT, arXiv:2104.01136)."""
    return _head(b, "head", pooled(b, x), classes)


def distilled_classifier(b: Builder, x: Value, classes: int) -> Value:
    """The mean of two such heads, one of which learned from a teacher; deploys to one linear layer."""
    x = pooled(b, x)
    heads = [_head(b, name, x, classes) for name in ("head", "distilled")]
    return b.op("mean", "multiply", b.op("sum", "add", *heads), factor=0.5)


def _head(b: Builder, name: str, x: Value, classes: int) -> Value:
    return b.linear(f"{name}.fc", batch_norm(b, name, x, 1e-5), classes)
