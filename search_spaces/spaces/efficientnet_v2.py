"""EfficientNetV2: fused inverted residuals first, inverted residuals with squeeze-and-excitation after them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from search_spaces.channels import make_divisible
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row, scaled_depth
from search_spaces.staged import StagedSpace


class Row(NamedTuple):
    """A stage; the first three of a network are fused and plain, the others have attention."""

    channels: int
    layers: int
    stride: int
    expand: int


BASE = (Row(16, 1, 1, 1), Row(32, 2, 2, 4), Row(48, 2, 2, 4), Row(96, 3, 2, 4), Row(112, 5, 1, 6), Row(192, 8, 2, 6))
S = (Row(24, 2, 1, 1), Row(48, 4, 2, 4), Row(64, 4, 2, 4), Row(128, 6, 2, 4), Row(160, 9, 1, 6), Row(256, 15, 2, 6))
M = (
    *(Row(24, 3, 1, 1), Row(48, 5, 2, 4), Row(80, 5, 2, 4), Row(160, 7, 2, 4)),
    *(Row(176, 14, 1, 6), Row(304, 18, 2, 6), Row(512, 5, 1, 6)),
)
L = (
    *(Row(32, 4, 1, 1), Row(64, 7, 2, 4), Row(96, 7, 2, 4), Row(192, 10, 2, 4)),
    *(Row(224, 19, 1, 6), Row(384, 25, 2, 6), Row(640, 7, 1, 6)),
)


def efficientnet_v2(
    name: str,
    rows: tuple[Row, ...],
    *,
    stem: int,
    head: int = 1280,
    width: float = 1.0,
    depth: float | tuple[float, ...] = 1.0,
    least: float = 0.9,
    full: bool = False,
    eps: float = 1e-5,
    padding: str = "symmetric",
) -> StagedSpace:
    """The network of a table at multipliers of width and depth (one, or one a stage).

    Channels are rounded to 8, and are at least ``least`` of what the multiplier says. ``full``: the first stage
    has a projection as well. Source: Tan and Le 2021, table 4 (S) and the authors' code (M, L and the B series).
    """
    depths = (depth,) * len(rows) if isinstance(depth, float) else depth
    shared: dict[str, Any] = {"activation": "silu", "eps": eps, "padding": padding}
    stages = []
    for i, (r, factor) in enumerate(zip(rows, depths, strict=True)):
        kind: dict[str, Any] = {"attention": "se_swish"} if i > 2 else {"attention": "none", "full": full and i == 0}
        stages.append(
            row(
                f"stage{i + 1}",
                "inverted_residual" if i > 2 else "fused_inverted_residual",
                make_divisible(r.channels * width, least=least),
                scaled_depth(r.layers, factor),
                r.stride,
                kernel=3,
                expand=r.expand,
                **kind,
                **shared,
            )
        )
    first = one("stem", "conv_bn_act", make_divisible(stem * width, least=least), 2, kernel=3, **shared)
    last = one("head", "conv_bn_act", make_divisible(head * width, least=least), kernel=1, **shared)
    return StagedSpace(name, [first, *stages, last])


_PAPER = "Tan and Le 2021, arXiv:2104.00298"
_s = partial(efficientnet_v2, rows=S, stem=24)
_m = partial(efficientnet_v2, rows=M, stem=24)
_l = partial(efficientnet_v2, rows=L, stem=32)
# with the padding and the epsilon of the authors' code
_tf = partial(efficientnet_v2, eps=1e-3, padding="same")
_base = partial(_tf, rows=BASE, stem=32, least=0.0)
# made from the figures of the paper, before its code was published
_early = partial(efficientnet_v2, rows=(*S[:-1], Row(272, 15, 2, 6)), stem=24, head=1792, full=True)

EFFICIENTNET_V2_PRESETS: Mapping[str, Preset] = {
    "efficientnetv2_s": Preset(partial(_s, "efficientnet_v2_s"), _PAPER, input_size=300),
    "efficientnetv2_m": Preset(partial(_m, "efficientnet_v2_m"), _PAPER, input_size=384),
    "efficientnetv2_l": Preset(partial(_l, "efficientnet_v2_l"), _PAPER, input_size=384),
    "efficientnetv2_rw_t": Preset(partial(_s, "efficientnet_v2_rw_t", width=0.8, depth=0.9), _PAPER),
    "efficientnetv2_rw_s": Preset(partial(_early, "efficientnet_v2_rw_s"), _PAPER, input_size=288),
    "efficientnetv2_rw_m": Preset(
        partial(_early, "efficientnet_v2_rw_m", width=1.2, depth=(1.2, 1.2, 1.2, 1.2, 1.6, 1.6)), _PAPER, input_size=320
    ),
    "tf_efficientnetv2_b0": Preset(partial(_base, "efficientnet_v2_b0"), _PAPER, input_size=224),
    "tf_efficientnetv2_b1": Preset(partial(_base, "efficientnet_v2_b1", depth=1.1), _PAPER, input_size=240),
    "tf_efficientnetv2_b2": Preset(partial(_base, "efficientnet_v2_b2", width=1.1, depth=1.2), _PAPER, input_size=260),
    "tf_efficientnetv2_b3": Preset(partial(_base, "efficientnet_v2_b3", width=1.2, depth=1.4), _PAPER, input_size=300),
    "tf_efficientnetv2_s": Preset(partial(_tf, "efficientnet_v2_s_tf", rows=S, stem=24), _PAPER, input_size=300),
    "tf_efficientnetv2_m": Preset(partial(_tf, "efficientnet_v2_m_tf", rows=M, stem=24), _PAPER, input_size=384),
    "tf_efficientnetv2_l": Preset(partial(_tf, "efficientnet_v2_l_tf", rows=L, stem=32), _PAPER, input_size=384),
}
