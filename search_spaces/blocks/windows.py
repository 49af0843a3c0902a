"""Maps as windows of tokens. The order of axes is (heads, windows, tokens of a window, channels of a head)."""

from search_spaces.builder import Builder, Value

Size = tuple[int, int]
"""Rows and columns."""


def to_windows(b: Builder, name: str, x: Value, grid: Size, side: Size, heads: int, *, strided: bool = False) -> Value:
    """(heads d, rows, columns) in ``grid`` windows of size ``side``, as (heads, windows, tokens, d).

    A window is contiguous, or, if ``strided``, what lies ``grid`` apart.
    """
    d = x.shape[0] // heads
    outer, inner = (side, grid) if strided else (grid, side)
    x = b.op(f"{name}.rows", "reshape", x, shape=(heads * d * outer[0], inner[0], outer[1], inner[1]))
    x = b.op(f"{name}.cut", "transpose", x, axes=(0, 2, 1, 3))
    x = b.op(f"{name}.flat", "reshape", x, shape=(heads, d, outer[0] * outer[1], inner[0] * inner[1]))
    return b.op(f"{name}.turned", "transpose", x, axes=(0, 3, 2, 1) if strided else (0, 2, 3, 1))


def from_windows(b: Builder, name: str, x: Value, grid: Size, side: Size, *, strided: bool = False) -> Value:
    """The inverse of ``to_windows``."""
    heads, _, _, d = x.shape
    outer, inner = (side, grid) if strided else (grid, side)
    x = b.op(f"{name}.turned", "transpose", x, axes=(0, 3, 2, 1) if strided else (0, 3, 1, 2))
    x = b.op(f"{name}.flat", "reshape", x, shape=(heads * d * outer[0], outer[1], inner[0], inner[1]))
    x = b.op(f"{name}.glued", "transpose", x, axes=(0, 2, 1, 3))
    return b.op(f"{name}.rows", "reshape", x, shape=(heads * d, outer[0] * inner[0], outer[1] * inner[1]))


def pad_to_multiple(b: Builder, x: Value, side: Size) -> Value:
    """``x`` with zeros below and on the right, so that windows of size ``side`` divide it."""
    rest = (-x.shape[1] % side[0], -x.shape[2] % side[1])
    return b.op("pad", "pad", x, before=(0, 0), after=rest) if any(rest) else x


def crop(b: Builder, x: Value, size: Size) -> Value:
    """The upper left ``size`` of ``x``."""
    if x.shape[1:] == size:
        return x
    return b.op("crop", "pad", x, before=(0, 0), after=(size[0] - x.shape[1], size[1] - x.shape[2]))
