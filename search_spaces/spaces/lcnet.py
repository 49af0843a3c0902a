"""PP-LCNet: layers of MobileNetV1 with the activation and the last layers of MobileNetV3."""

from collections.abc import Mapping

from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


def lcnet() -> StagedSpace:
    """PP-LCNet (Cui et al. 2021, table 1): attention and 5 x 5 kernels in the late stages only."""
    table: list[tuple[int, int, tuple[int, ...], str]] = [
        (32, 1, (3,), "none"),
        (64, 2, (3, 3), "none"),
        (128, 2, (3, 3), "none"),
        (256, 2, (3, 5), "none"),
        (256, 1, (5, 5, 5, 5), "none"),
        (512, 2, (5, 5), "se_exact"),
    ]
    return StagedSpace(
        "lcnet",
        [
            one("stem", "conv_bn_act", 16, 2, kernel=3, activation="hard_swish"),
            *(
                row(
                    f"stage{i}",
                    "depthwise_separable",
                    channels,
                    len(kernels),
                    stride,
                    kernel=kernels,
                    activation="hard_swish",
                    attention=attention,
                )
                for i, (channels, stride, kernels, attention) in enumerate(table, 1)
            ),
            one("features", "pooled_conv_act", 1280, scaled=False, activation="hard_swish"),
        ],
        width=(0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5),
    )


_PAPER = "Cui et al. 2021, arXiv:2109.15099"

LCNET_PRESETS: Mapping[str, Preset] = {
    "lcnet_035": Preset(lcnet, _PAPER, {"width": 0.35}),
    "lcnet_050": Preset(lcnet, _PAPER, {"width": 0.5}),
    "lcnet_075": Preset(lcnet, _PAPER, {"width": 0.75}),
    "lcnet_100": Preset(lcnet, _PAPER, {"width": 1.0}),
    "lcnet_150": Preset(lcnet, _PAPER, {"width": 1.5}),
}
