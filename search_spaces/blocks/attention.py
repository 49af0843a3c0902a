"""Attention by name, as an argument of blocks."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.squeeze_excite import effective_squeeze_excite, efficient_channel_attention, squeeze_excite
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def _none(b: Builder, x: Value, in_channels: int) -> Value:
    return x


def _se(b: Builder, x: Value, in_channels: int) -> Value:
    """A quarter of the channels of ``x``, hard sigmoid (Howard et al. 2019, MobileNetV3, section 5.3)."""
    reduced = make_divisible(x.shape[0] * 0.25)
    value: Value = b.block("squeeze_excite", squeeze_excite, x, reduced, "relu", "hard_sigmoid")
    return value


def _se_swish(b: Builder, x: Value, in_channels: int) -> Value:
    """A quarter of the channels that enter the block, SiLU and sigmoid (Tan and Le 2019, EfficientNet)."""
    value: Value = b.block("squeeze_excite", squeeze_excite, x, max(1, round(in_channels * 0.25)), "silu", "sigmoid")
    return value


def _ese(b: Builder, x: Value, in_channels: int) -> Value:
    value: Value = b.block("effective_squeeze_excite", effective_squeeze_excite, x)
    return value


def _eca(b: Builder, x: Value, in_channels: int) -> Value:
    value: Value = b.block("efficient_channel_attention", efficient_channel_attention, x)
    return value


ATTENTIONS: Mapping[str, Callable[[Builder, Value, int], Value]] = {
    "none": _none,
    "se": _se,
    "se_swish": _se_swish,
    "ese": _ese,
    "eca": _eca,
}
"""Every attention that a block can be told to use; each gets the input channels of the block as well."""
