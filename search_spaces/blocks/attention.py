"""Attention by name, as an argument of blocks."""

from collections.abc import Callable, Mapping
from functools import partial
from math import gcd

from search_spaces.blocks.squeeze_excite import effective_squeeze_excite, efficient_channel_attention, squeeze_excite
from search_spaces.blocks.subspace_attention import subspace_attention
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def _none(b: Builder, x: Value, in_channels: int) -> Value:
    return x


def _se(
    b: Builder,
    x: Value,
    in_channels: int,
    *,
    ratio: float = 0.25,
    of_input: bool = False,
    divisor: int = 1,
    least: float = 0.9,
    activation: str = "relu",
    gate: str = "hard_sigmoid",
) -> Value:
    """Squeeze-and-excitation of ``ratio`` times the channels of ``x``, or of those that enter the block."""
    inner = (in_channels if of_input else x.shape[0]) * ratio
    reduced = max(1, round(inner)) if divisor == 1 else make_divisible(inner, divisor, least)
    value: Value = b.block("squeeze_excite", squeeze_excite, x, reduced, activation, gate)
    return value


def _ese(b: Builder, x: Value, in_channels: int) -> Value:
    value: Value = b.block("effective_squeeze_excite", effective_squeeze_excite, x)
    return value


def _eca(b: Builder, x: Value, in_channels: int) -> Value:
    value: Value = b.block("efficient_channel_attention", efficient_channel_attention, x)
    return value


def _ulsam(b: Builder, x: Value, in_channels: int) -> Value:
    """Four subspaces, or as many of them as divide the channels (Saini et al. 2020, arXiv:2006.15102)."""
    value: Value = b.block("subspace_attention", subspace_attention, x, gcd(4, x.shape[0]))
    return value


ATTENTIONS: Mapping[str, Callable[[Builder, Value, int], Value]] = {
    "none": _none,
    # Hu et al. 2018, section 4: a sixteenth of the channels inside, and with that in multiples of eight
    "se_16": partial(_se, ratio=1 / 16, gate="sigmoid"),
    "se_16_of_8": partial(_se, ratio=1 / 16, divisor=8, least=0, gate="sigmoid"),
    # Wang et al. 2024, RepViT: in multiples of eight
    "se_of_8": partial(_se, divisor=8, least=0, gate="sigmoid"),
    # Bello et al. 2021, ResNet-RS, section 4.4
    "se_sigmoid": partial(_se, gate="sigmoid"),
    # Howard et al. 2019, MobileNetV3, section 5.3
    "se": partial(_se, divisor=8),
    # Cui et al. 2021, PP-LCNet
    "se_exact": _se,
    "se_exact_hard_swish": partial(_se, activation="hard_swish"),
    # Tan et al. 2019, MnasNet
    "se_relu": partial(_se, of_input=True, gate="sigmoid"),
    # Tan and Le 2019, EfficientNet
    "se_swish": partial(_se, of_input=True, activation="silu", gate="sigmoid"),
    # Dai et al. 2020, FBNetV3
    "se_hard_swish": partial(_se, of_input=True, divisor=8, least=0.95, activation="hard_swish"),
    "ese": _ese,
    "eca": _eca,
    "ulsam": _ulsam,
}
"""Every attention that a block can be told to use; each gets the input channels of the block as well.

Squeeze-and-excitation ("se...") is what the cited networks have, a quarter of the channels inside but for "se_16...".
"""
