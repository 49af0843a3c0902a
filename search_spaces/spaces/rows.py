"""Stages without choices: the rows of a published table."""

from math import ceil
from typing import Any

from search_spaces.stage import Stage, listed


def row(
    name: str, block: str, out_channels: int, depth: int = 1, stride: int = 1, *, scaled: bool = True, **arguments: Any
) -> Stage:
    """A stage of ``depth`` layers; an argument of the block is one value for all of them, or a tuple of one each.

    ``scaled``: the width multiplier of the space applies.
    """
    return Stage(
        name,
        block,
        out_channels,
        stride,
        (depth,),
        {key: (value,) for key, value in arguments.items() if not isinstance(value, tuple)},
        scaled=scaled,
        rules={key: listed(*value) for key, value in arguments.items() if isinstance(value, tuple)},
    )


def one(
    name: str, block: str, out_channels: int, stride: int = 1, *, scaled: bool = True, least: int = 0, **arguments: Any
) -> Stage:
    """A stem or head: one layer with the name of its stage, of at least ``least`` channels."""
    return Stage(
        name,
        block,
        out_channels,
        stride,
        options={key: (value,) for key, value in arguments.items()},
        min_channels=least,
        single=True,
        scaled=scaled,
    )


def scaled_depth(depth: int, factor: float) -> int:
    """Layers of a stage at a depth multiplier (Tan and Le 2019, EfficientNet, equation 3, rounded up)."""
    return ceil(depth * factor)
