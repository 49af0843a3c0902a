"""Networks of the form of MobileNetV3 from their published tables."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from search_spaces.spaces.rows import one, row, scaled_depth
from search_spaces.staged import Stage, StagedSpace


class Row(NamedTuple):
    """A run of inverted residuals: ``expand`` has an entry a layer, ``kernel`` may have."""

    channels: int
    stride: int
    activation: str
    attention: str
    kernel: int | tuple[int, ...]
    expand: tuple[float, ...]


LARGE = (
    Row(16, 1, "relu", "none", 3, (1.0,)),
    Row(24, 2, "relu", "none", 3, (4.0, 3.0)),
    Row(40, 2, "relu", "se", 5, (3.0, 3.0, 3.0)),
    Row(80, 2, "hard_swish", "none", 3, (6.0, 2.5, 2.3, 2.3)),
    Row(112, 1, "hard_swish", "se", 3, (6.0, 6.0)),
    Row(160, 2, "hard_swish", "se", 5, (6.0, 6.0, 6.0)),
)
"""Howard et al. 2019, table 1."""

SMALL = (
    Row(16, 2, "relu", "se", 3, (1.0,)),
    Row(24, 2, "relu", "none", 3, (4.5, 3.67)),
    Row(40, 2, "hard_swish", "se", 5, (4.0, 6.0, 6.0)),
    Row(48, 1, "hard_swish", "se", 5, (3.0, 3.0)),
    Row(96, 2, "hard_swish", "se", 5, (6.0, 6.0, 6.0)),
)
"""Howard et al. 2019, table 2."""


def mobilenet_v3_table(
    name: str,
    rows: Sequence[Row],
    head: int,
    features: int,
    *,
    stem: int = 16,
    width: tuple[float, ...] = (1.0,),
    head_depth: int = 1,
    activation: str = "hard_swish",
    bias: bool = True,
    residual: bool = True,
    eps: float = 1e-5,
    padding: str = "symmetric",
) -> StagedSpace:
    """The network of a published table: a stem of stride 2, its rows, a pointwise head, pooling, ``features``.

    ``activation`` is that of stem and head; ``bias`` is of the layer after the pooling; ``residual`` false leaves
    the identity out of the first row. The width multiplier applies to neither ``features`` nor to a stem below 16.
    """
    shared: dict[str, Any] = {"eps": eps, "padding": padding}
    stages = [fixed_row(f"stage{i}", r, residual=residual or i > 1, **shared) for i, r in enumerate(rows, 1)]
    conv: dict[str, Any] = {"activation": activation, "kernel": 1, "eps": eps}
    if head_depth == 1:
        last = one("head", "conv_bn_act", head, **conv)
    else:
        last = row("head", "conv_bn_act", head, head_depth, **conv)
    return StagedSpace(
        name,
        [
            one("stem", "conv_bn_act", stem, 2, least=16, kernel=3, activation=activation, **shared),
            *stages,
            last,
            one("features", "pooled_conv_act", features, scaled=False, activation=activation, bias=bias),
        ],
        width=width,
    )


def fixed_row(name: str, r: Row, **arguments: Any) -> Stage:
    """The stage of a row; ``arguments`` are further ones of its blocks."""
    return row(
        name,
        "inverted_residual",
        r.channels,
        len(r.expand),
        r.stride,
        kernel=r.kernel,
        expand=r.expand,
        attention=r.attention,
        activation=r.activation,
        **arguments,
    )


def minimal(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The table for plain accelerators: 3 x 3 kernels, ReLU and no attention (the authors' minimalistic models)."""
    return tuple(r._replace(kernel=3, activation="relu", attention="none") for r in rows)


def deepened(rows: Sequence[Row], factor: float) -> tuple[Row, ...]:
    """The table at a depth multiplier: runs of equal layers grow in proportion, the last run of a row first."""
    return tuple(r._replace(expand=_stretched(r.expand, factor)) for r in rows)


def _stretched(layers: tuple[float, ...], factor: float) -> tuple[float, ...]:
    wanted, left = scaled_depth(len(layers), factor), len(layers)
    stretched: list[float] = []
    for value, run in reversed([(value, len(list(run))) for value, run in groupby(layers)]):
        count = max(1, round(run / left * wanted))
        stretched = [value] * count + stretched
        wanted, left = wanted - count, left - run
    return tuple(stretched)
