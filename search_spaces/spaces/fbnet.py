"""FBNet: 22 layers that choose among nine blocks; FBNet-C is a point of it, FBNetV3 has the form of MobileNetV3."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.mobilenet_v3_table import Row, mobilenet_v3_table
from search_spaces.spaces.rows import one
from search_spaces.staged import Candidate, Stage, StagedSpace

# layers, channels, stride (Wu et al. 2019, table 1)
_TABLE = ((1, 16, 1), (4, 24, 2), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))
_SIZES = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
"""Kernel, expansion and groups of the pointwise convolutions by label (table 2)."""


def fbnet(name: str = "fbnet", *, early_strides: bool = True, head: int = 1984) -> StagedSpace:
    """FBNet (Wu et al. 2019, tables 1 and 2): nine blocks to choose from in each of 22 layers.

    A layer that is skipped is a pointwise convolution where the stride or the channels change. ``early_strides=False``
    keeps the size in the stem and the first two strided stages, for inputs of 8 to 32 pixels.
    """
    early = 2 if early_strides else 1
    blocks = {
        label: Candidate(
            "inverted_residual", {"kernel": (kernel,), "expand": (expand,), "groups": (groups,), "full": (True,)}
        )
        for label, (kernel, expand, groups) in _SIZES.items()
    }
    blocks["skip"] = Candidate("identity_or_conv")
    stages = [
        Stage(
            f"stage{i}",
            blocks,
            channels,
            early if i < 4 and stride == 2 else stride,
            (depth,),
            {"attention": ("none",), "activation": ("relu",)},
        )
        for i, (depth, channels, stride) in enumerate(_TABLE, 1)
    ]
    return StagedSpace(
        name,
        [
            one("stem", "conv_bn_act", 16, early, kernel=3, activation="relu"),
            *stages,
            one("head", "conv_bn_act", head, kernel=1, activation="relu"),
        ],
    )


def _point(*stages: str) -> dict[str, Option]:
    """The labels of the layers, stage by stage."""
    return {
        f"stage{stage}.layer{number}.block": label
        for stage, labels in enumerate(stages, 1)
        for number, label in enumerate(labels.split(), 1)
    }


_V1 = "Wu et al. 2019, arXiv:1812.03443"
_V3 = "Dai et al. 2021, arXiv:2006.02049"
_row = partial(Row, activation="hard_swish")
_wide = partial(_row, attention="se_hard_swish")
_thin = partial(_row, attention="none")

# FBNetV3 (Dai et al. 2021): channels, stride, kernels and expansions of the searched networks
_B = (
    _thin(16, 1, kernel=3, expand=(1.0,) * 2),
    _thin(24, 2, kernel=5, expand=(4.0, *(2.0,) * 3)),
    _wide(40, 2, kernel=5, expand=(5.0, *(3.0,) * 4)),
    _thin(72, 2, kernel=(5, *(3,) * 4), expand=(5.0, *(3.0,) * 4)),
    _wide(120, 1, kernel=(3, *(5,) * 5), expand=(5.0, *(3.0,) * 5)),
    _wide(184, 2, kernel=(3, *(5,) * 5), expand=(6.0, *(4.0,) * 5)),
    _wide(224, 1, kernel=5, expand=(6.0,)),
)
_D = (
    _thin(16, 1, kernel=3, expand=(1.0,) * 2),
    _thin(24, 2, kernel=3, expand=(5.0, *(2.0,) * 5)),
    _wide(40, 2, kernel=(5, *(3,) * 4), expand=(4.0, *(3.0,) * 4)),
    _thin(72, 2, kernel=3, expand=(5.0, *(3.0,) * 4)),
    _wide(128, 1, kernel=(3, *(5,) * 6), expand=(5.0, *(3.0,) * 6)),
    _wide(208, 2, kernel=(3, *(5,) * 5), expand=(6.0, *(5.0,) * 5)),
    _wide(240, 1, kernel=5, expand=(6.0,)),
)
_G = (
    _thin(24, 1, kernel=3, expand=(1.0,) * 3),
    _thin(40, 2, kernel=5, expand=(4.0, *(2.0,) * 4)),
    _wide(56, 2, kernel=5, expand=(4.0, *(3.0,) * 4)),
    _thin(104, 2, kernel=(5, *(3,) * 4), expand=(5.0, *(3.0,) * 4)),
    _wide(160, 1, kernel=(3, *(5,) * 8), expand=(5.0, *(3.0,) * 8)),
    _wide(264, 2, kernel=(3, *(5,) * 6), expand=(6.0, *(5.0,) * 6)),
    _wide(288, 1, kernel=5, expand=(6.0,) * 2),
)
_v3 = partial(mobilenet_v3_table, features=1984, bias=False)

FBNET_PRESETS: Mapping[str, Preset] = {
    "fbnetc_100": Preset(
        fbnet,
        _V1,
        _point(
            "k3_e1",
            "k3_e6 k3_e1 k3_e1 skip",
            "k5_e6 k5_e3 k5_e6 k3_e6",
            "k5_e6 k5_e3 k5_e6 k5_e6",
            "k5_e6 k5_e6 k5_e6 k5_e3",
            "k5_e6 k5_e6 k5_e6 k5_e6",
            "k3_e6",
        ),
    ),
    "fbnetv3_b": Preset(partial(_v3, "fbnet_v3_b", _B, 1344), _V3),
    "fbnetv3_d": Preset(partial(_v3, "fbnet_v3_d", _D, 1440, stem=24), _V3),
    "fbnetv3_g": Preset(partial(_v3, "fbnet_v3_g", _G, 1728, stem=32), _V3, input_size=240),
}
