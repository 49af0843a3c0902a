"""Channel attention: squeeze-and-excitation and its relatives."""

from math import log2

from search_spaces.builder import Builder, Value


def squeeze_excite(b: Builder, x: Value, reduced: int, activation: str, gate: str) -> Value:
    """Channel gates from the global average: two pointwise convolutions with bias (Hu et al. 2018, section 3).

    ``reduced`` is the inner width, ``activation`` follows the first convolution and ``gate`` (``sigmoid`` or
    ``hard_sigmoid``) the second.
    """
    y = b.op("pool", "global_avg_pool", x)
    y = b.conv("reduce", y, reduced, 1, bias=True)
    y = b.op(activation, activation, y)
    y = b.conv("expand", y, x.shape[0], 1, bias=True)
    y = b.op(gate, gate, y)
    return b.op("mul", "mul", x, y)


def effective_squeeze_excite(b: Builder, x: Value) -> Value:
    """One pointwise convolution of full width in place of two (Lee and Park 2020, arXiv:1911.06667, section 3.3)."""
    y = b.op("pool", "global_avg_pool", x)
    y = b.conv("fc", y, x.shape[0], 1, bias=True)
    y = b.op("hard_sigmoid", "hard_sigmoid", y)
    return b.op("mul", "mul", x, y)


def efficient_channel_attention(b: Builder, x: Value) -> Value:
    """A convolution along the channels of the global average (Wang et al. 2020, ECA-Net, arXiv:1910.03151).

    Its kernel is the odd number nearest above (log2 C + 1) / 2, at least 3 (equation 12).
    """
    channels = x.shape[0]
    size = int(abs(log2(channels) + 1) / 2)
    kernel = max(size if size % 2 else size + 1, 3)
    y = b.op("pool", "global_avg_pool", x)
    y = b.op("line", "reshape", y, shape=(1, channels))
    y = b.conv("conv", y, 1, kernel)
    y = b.op("sigmoid", "sigmoid", y)
    y = b.op("gates", "reshape", y, shape=(channels, *(1,) * (len(x.shape) - 1)))
    return b.op("mul", "mul", x, y)
