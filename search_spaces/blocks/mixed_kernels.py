"""MixConv: depthwise convolutions with several kernel sizes over groups of the channels."""

from collections.abc import Callable, Mapping

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import PADDINGS, activate
from search_spaces.blocks.squeeze_excite import squeeze_excite
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible
from search_spaces.errors import InvalidGraph


def _half(b: Builder, x: Value, in_channels: int) -> Value:
    value: Value = b.block("squeeze_excite", squeeze_excite, x, max(1, round(in_channels * 0.5)), "silu", "sigmoid")
    return value


MIXED_ATTENTIONS: Mapping[str, Callable[[Builder, Value, int], Value]] = {**ATTENTIONS, "se_swish_half": _half}
"""``ATTENTIONS``, and the "se_swish" of MixNet with half of the block's input channels inside."""


def mixed_depthwise(b: Builder, x: Value, kernels: int = 3, stride: int = 1, padding: str = "symmetric") -> Value:
    """Depthwise convolutions of 3 x 3, 5 x 5, ... on ``kernels`` equal groups of the channels, joined again.

    Source: Tan and Le 2019, MixConv, arXiv:1907.09595, section 3.1.
    """
    return _split(b, x, x.shape[0], [3 + 2 * i for i in range(kernels)], stride, True, padding)


def split_pointwise(b: Builder, x: Value, out_channels: int, groups: int = 2) -> Value:
    """Pointwise convolutions of equal groups of the channels, joined again (Tan and Le 2019, MixConv, section 4)."""
    return _split(b, x, out_channels, [1] * groups, 1, False, "symmetric")


def mixed_inverted_residual(
    b: Builder,
    x: Value,
    out_channels: int,
    kernels: int,
    expand: float,
    stride: int,
    attention: str = "none",
    activation: str = "silu",
    expand_groups: int = 1,
    project_groups: int = 1,
    eps: float = 1e-5,
    padding: str = "symmetric",
) -> Value:
    """An inverted residual with ``kernels`` kernel sizes in its depthwise convolution (Tan and Le 2019, section 4).

    The groups are those of the pointwise convolutions; ``expand`` 1 leaves the first out. Attention is one of
    ``MIXED_ATTENTIONS``.
    """
    in_channels = x.shape[0]
    y = x
    if expand != 1:
        y = b.block("expand.conv", split_pointwise, y, make_divisible(in_channels * expand), expand_groups)
        y = activate(b, "expand", b.batch_norm("expand.bn", y, eps), activation)
    y = b.block("depthwise.conv", mixed_depthwise, y, kernels, stride, padding)
    y = activate(b, "depthwise", b.batch_norm("depthwise.bn", y, eps), activation)
    y = MIXED_ATTENTIONS[attention](b, y, in_channels)
    y = b.block("project.conv", split_pointwise, y, out_channels, project_groups)
    y = b.batch_norm("project.bn", y, eps)
    return b.op("add", "add", x, y) if stride == 1 and in_channels == out_channels else y


def _split(
    b: Builder, x: Value, out_channels: int, kernels: list[int], stride: int, depthwise: bool, padding: str
) -> Value:
    """One convolution a kernel, each of its own share of the channels; what is left over goes to the first."""
    before, after = _shares(x.shape[0], len(kernels)), _shares(out_channels, len(kernels))
    parts = []
    start = 0
    for number, (kernel, inputs, outputs) in enumerate(zip(kernels, before, after, strict=True), 1):
        part = b.slice(f"slice{number}", x, start, start + inputs) if len(kernels) > 1 else x
        start += inputs
        part, pads = PADDINGS[padding](b, f"pad{number}", part, kernel, stride)
        groups = inputs if depthwise else 1
        parts.append(b.conv(f"conv{number}", part, outputs, kernel, stride, groups, padding=pads))
    return b.op("concat", "concat", *parts) if len(parts) > 1 else parts[0]


def _shares(channels: int, count: int) -> list[int]:
    if channels < count:
        raise InvalidGraph(f"{channels} channels in {count} groups", hint="use fewer groups or more channels")
    return [channels - channels // count * (count - 1), *[channels // count] * (count - 1)]
