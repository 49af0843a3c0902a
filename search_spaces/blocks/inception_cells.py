"""The cells of the Inception networks as data: what their branches are, at the published widths."""

from collections.abc import Mapping
from typing import NamedTuple

ROW, COLUMN = (1, 3), (3, 1)
_LONG_ROW, _LONG_COLUMN = (1, 7), (7, 1)


class Step(NamedTuple):
    """A convolution of a branch, of ``width`` channels at the published width; or a pool without one.

    ``fork`` puts a 1 x 3 and a 3 x 1 convolution side by side, each of ``width``.
    """

    kernel: int | tuple[int, int] = 1
    width: int = 0
    pool: str = ""
    fork: bool = False


Cell = tuple[tuple[Step, ...], ...]
"""Branches side by side; the last step of each takes the stride."""

_AVERAGE, _MAXIMUM = Step(3, pool="avg_pool"), Step(3, pool="max_pool")


def _branch(*steps: tuple[int | tuple[int, int], int]) -> tuple[Step, ...]:
    return tuple([Step(*step) for step in steps])


def _v3_a(pooled: int) -> Cell:
    return (
        _branch((1, 64)),
        _branch((1, 48), (5, 64)),
        _branch((1, 64), (3, 96), (3, 96)),
        (_AVERAGE, Step(1, pooled)),
    )


def _v3_b(inner: int) -> Cell:
    ends = (_LONG_ROW, 192)
    return (
        _branch((1, 192)),
        _branch((1, inner), (_LONG_ROW, inner), (_LONG_COLUMN, 192)),
        _branch((1, inner), (_LONG_COLUMN, inner), (_LONG_ROW, inner), (_LONG_COLUMN, inner), ends),
        (_AVERAGE, Step(1, 192)),
    )


CELLS: Mapping[str, Cell] = {
    # Szegedy et al. 2016, arXiv:1512.00567, figures 5 to 7, with the widths of the authors' code
    "v3_a32": _v3_a(32),
    "v3_a": _v3_a(64),
    "v3_reduction_a": (_branch((3, 384)), _branch((1, 64), (3, 96), (3, 96)), (_MAXIMUM,)),
    "v3_b128": _v3_b(128),
    "v3_b160": _v3_b(160),
    "v3_b": _v3_b(192),
    "v3_reduction_b": (
        _branch((1, 192), (3, 320)),
        _branch((1, 192), (_LONG_ROW, 192), (_LONG_COLUMN, 192), (3, 192)),
        (_MAXIMUM,),
    ),
    "v3_c": (
        _branch((1, 320)),
        (Step(1, 384), Step(3, 384, fork=True)),
        (Step(1, 448), Step(3, 384), Step(3, 384, fork=True)),
        (_AVERAGE, Step(1, 192)),
    ),
    # Szegedy et al. 2017, arXiv:1602.07261, figure 3
    "v4_stem_a": ((_MAXIMUM,), _branch((3, 96))),
    "v4_stem_b": (
        _branch((1, 64), (3, 96)),
        _branch((1, 64), (_LONG_ROW, 64), (_LONG_COLUMN, 64), (3, 96)),
    ),
    "v4_stem_c": (_branch((3, 192)), (_MAXIMUM,)),
    # figures 4 to 9
    "v4_a": (
        _branch((1, 96)),
        _branch((1, 64), (3, 96)),
        _branch((1, 64), (3, 96), (3, 96)),
        (_AVERAGE, Step(1, 96)),
    ),
    "v4_reduction_a": (_branch((3, 384)), _branch((1, 192), (3, 224), (3, 256)), (_MAXIMUM,)),
    "v4_b": (
        _branch((1, 384)),
        _branch((1, 192), (_LONG_ROW, 224), (_LONG_COLUMN, 256)),
        _branch((1, 192), (_LONG_COLUMN, 192), (_LONG_ROW, 224), (_LONG_COLUMN, 224), (_LONG_ROW, 256)),
        (_AVERAGE, Step(1, 128)),
    ),
    "v4_reduction_b": (
        _branch((1, 192), (3, 192)),
        _branch((1, 256), (_LONG_ROW, 256), (_LONG_COLUMN, 320), (3, 320)),
        (_MAXIMUM,),
    ),
    "v4_c": (
        _branch((1, 256)),
        (Step(1, 384), Step(3, 256, fork=True)),
        (Step(1, 384), Step(COLUMN, 448), Step(ROW, 512), Step(3, 256, fork=True)),
        (_AVERAGE, Step(1, 256)),
    ),
    # Inception-ResNet-v2: figures 7 and 18, with the widths of the authors' code
    "resnet_stem": (
        _branch((1, 96)),
        _branch((1, 48), (5, 64)),
        _branch((1, 64), (3, 96), (3, 96)),
        (_AVERAGE, Step(1, 64)),
    ),
    "resnet_reduction_a": (_branch((3, 384)), _branch((1, 256), (3, 256), (3, 384)), (_MAXIMUM,)),
    "resnet_reduction_b": (
        _branch((1, 256), (3, 384)),
        _branch((1, 256), (3, 288)),
        _branch((1, 256), (3, 288), (3, 320)),
        (_MAXIMUM,),
    ),
    # the branches of its residual blocks: figures 16, 17 and 19
    "resnet_a": (_branch((1, 32)), _branch((1, 32), (3, 32)), _branch((1, 32), (3, 48), (3, 64))),
    "resnet_b": (_branch((1, 192)), _branch((1, 128), (_LONG_ROW, 160), (_LONG_COLUMN, 192))),
    "resnet_c": (_branch((1, 192)), _branch((1, 192), (ROW, 224), (COLUMN, 256))),
}
"""Every cell by name."""
