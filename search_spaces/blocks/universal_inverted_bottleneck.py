"""The blocks of MobileNetV4 (Qin et al. 2024, arXiv:2404.10518)."""

from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.transformer import attend
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible
from search_spaces.errors import InvalidGraph


def universal_inverted_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    start_kernel: int = 3,
    kernel: int = 3,
    expand: float = 4.0,
    stride: int = 1,
    activation: str = "relu",
    layer_scale: float = 0.0,
    downsample: str = "strided",
) -> Value:
    """An inverted residual with depthwise convolutions before and after its expansion, both optional (kernel 0).

    Both: ExtraDW; the second alone: inverted bottleneck; the first alone: ConvNext-like; none: FFN. The stride is
    the second's, or the first's where there is no second; no activation follows the first. ``layer_scale`` is the
    initial scale of the branch (0: no scale), ``downsample`` (of ``DOWNSAMPLES``) what takes the stride.
    Source: Qin et al. 2024, section 3. Raises: InvalidGraph where nothing can take the stride.
    """
    if stride > 1 and not start_kernel and not kernel:
        raise InvalidGraph(f"stride {stride} without a depthwise convolution", hint="set kernel or start_kernel")
    in_channels = x.shape[0]
    y = x
    if start_kernel:
        own = 1 if kernel else stride
        y = conv_bn(b, "start", y, in_channels, start_kernel, own, in_channels, downsample=downsample)
    hidden = make_divisible(in_channels * expand)
    y = conv_bn(b, "expand", y, hidden, 1, activation=activation)
    if kernel:
        y = conv_bn(b, "depthwise", y, hidden, kernel, stride, hidden, activation, downsample=downsample)
    y = conv_bn(b, "project", y, out_channels, 1)
    return _residual(b, x, y, layer_scale)


def mobile_attention(
    b: Builder,
    x: Value,
    out_channels: int,
    heads: int = 4,
    key_channels: int = 64,
    kv_stride: int = 1,
    layer_scale: float = 0.0,
) -> Value:
    """Batch norm and multi-query attention: every head has queries of its own, all share keys and values.

    Keys and values are ``key_channels`` wide; with ``kv_stride`` above 1 a strided depthwise 3 x 3 convolution and
    batch norm come before each. Sources: Shazeer 2019, arXiv:1911.02150; Qin et al. 2024, section 4 (Mobile MQA).
    """
    height, width = x.shape[1:]
    y = b.batch_norm("norm.bn", x)
    query = b.conv("query.conv", y, heads * key_channels, 1)
    query = b.op("query.heads", "reshape", query, shape=(heads, key_channels, height * width))
    query = b.op("query.transpose", "transpose", query, axes=(0, 2, 1))
    key = _shared(b, "key", y, key_channels, kv_stride)
    value = _shared(b, "value", y, key_channels, kv_stride)
    mixed = b.op("out.transpose", "transpose", attend(b, query, key, value), axes=(0, 2, 1))
    mixed = b.op("out.map", "reshape", mixed, shape=(heads * key_channels, height, width))
    return _residual(b, x, b.conv("out.conv", mixed, out_channels, 1), layer_scale)


def pooled_conv_bn_act(b: Builder, x: Value, out_channels: int, activation: str = "relu") -> Value:
    """Global average pooling, a pointwise convolution, batch norm, activation: features for a classifier."""
    return conv_bn(b, "features", b.op("pool", "global_avg_pool", x), out_channels, 1, activation=activation)


def _shared(b: Builder, name: str, x: Value, channels: int, stride: int) -> Value:
    """Keys or values of all heads, (1, positions, channels)."""
    if stride > 1:
        x = conv_bn(b, f"{name}.down", x, x.shape[0], 3, stride, x.shape[0])
    x = b.conv(f"{name}.conv", x, channels, 1)
    x = b.op(f"{name}.line", "reshape", x, shape=(1, channels, x.shape[1] * x.shape[2]))
    return b.op(f"{name}.transpose", "transpose", x, axes=(0, 2, 1))


def _residual(b: Builder, x: Value, y: Value, layer_scale: float) -> Value:
    """``y``, scaled if so told, and ``x`` added where the shapes agree."""
    if layer_scale:
        y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, y) if x.shape == y.shape else y
