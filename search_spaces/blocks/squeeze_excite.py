"""Squeeze-and-excitation (Hu et al. 2018), in the form of MobileNetV3 (Howard et al. 2019, section 5.3)."""

from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def squeeze_excite(b: Builder, x: Value, ratio: float) -> Value:
    """Channel gates from the global average: two pointwise convolutions with bias, ReLU, hard sigmoid.

    The inner width is ``ratio`` of the channels of ``x``, to a multiple of 8.
    """
    gate = b.op("pool", "global_avg_pool", x)
    gate = b.conv("reduce", gate, make_divisible(x.shape[0] * ratio), 1, bias=True)
    gate = b.op("relu", "relu", gate)
    gate = b.conv("expand", gate, x.shape[0], 1, bias=True)
    gate = b.op("hard_sigmoid", "hard_sigmoid", gate)
    return b.op("mul", "mul", x, gate)
