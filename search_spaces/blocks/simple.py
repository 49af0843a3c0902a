"""The layer of SimpleNet (Hasanpour et al. 2016, arXiv:1608.06037)."""

from search_spaces.builder import Builder, Value


def simple_layer(
    b: Builder, x: Value, out_channels: int, kernel: int = 3, stride: int = 1, pool: bool = False
) -> Value:
    """Convolution with bias, batch norm, ReLU; a 2 x 2 max pool of stride 2 after it if ``pool``.

    The padding is 1 whatever the kernel, so a pointwise layer grows the map by two. Source: Hasanpour et al. 2016,
    section 4.
    """
    x = b.conv("conv", x, out_channels, kernel, stride, bias=True, padding=(1, 1))
    x = b.op("relu", "relu", b.batch_norm("bn", x, momentum=0.05))
    return b.pool("pool", "max_pool", x, 2, 2) if pool else x
