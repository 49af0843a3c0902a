"""The block of InceptionNeXt: a large depthwise convolution taken apart into four branches."""

from search_spaces.blocks.mlp import mlp
from search_spaces.blocks.patch import downsampled
from search_spaces.builder import Builder, Value


def inception_depthwise(b: Builder, x: Value, kernel: int = 3, band: int = 11, ratio: float = 0.125) -> Value:
    """Depthwise k x k, 1 x ``band`` and ``band`` x 1 convolutions, each on ``ratio`` of the channels.

    The channels before theirs pass as they are. Source: Yu et al. 2023, section 3.2 and algorithm 1.
    """
    channels = x.shape[0]
    width = max(1, int(channels * ratio))
    start = channels - 3 * width
    parts = [b.slice("identity", x, 0, start)] if start else []
    kernels: tuple[tuple[str, tuple[int, int]], ...] = (
        ("square", (kernel, kernel)),
        ("row", (1, band)),
        ("column", (band, 1)),
    )
    for name, size in kernels:
        part = b.slice(f"{name}.slice", x, start, start + width)
        parts.append(b.conv(f"{name}.conv", part, width, size, groups=width, bias=True))
        start += width
    return b.op("concat", "concat", *parts)


def inception_next_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 3,
    band: int = 11,
    ratio: float = 0.125,
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "gelu",
    layer_scale: float = 1e-6,
) -> Value:
    """x + layer scale (MLP(batch norm(inception depthwise(x)))); Yu et al. 2023, figure 2 and section 3.2.

    Where the stride or the channels change, a batch norm and a convolution over patches of the size of the
    stride come first. ``layer_scale`` is the first value of the factors, 0 leaves them out.
    """
    x = downsampled(b, x, out_channels, stride, stride, "batch", True, 1e-5)
    y = b.block("mixer", inception_depthwise, x, kernel, band, ratio)
    y = b.batch_norm("norm", y)
    y = b.block("mlp", mlp, y, mlp_ratio, activation)
    if layer_scale:
        y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, y)
