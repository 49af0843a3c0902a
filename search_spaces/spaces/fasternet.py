"""FasterNet and PartialNet: stages of partial convolutions, and of partial attention."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


def fasternet(
    base: int = 128,
    depths: tuple[int, int, int, int] = (1, 2, 13, 2),
    activation: str = "relu",
    mixers: tuple[str, str, str, str] = ("conv", "conv", "conv", "conv"),
    spatial: bool = False,
    divisions: int = 4,
    stem_stride: int = 4,
) -> StagedSpace:
    """Four stages of ``base`` times 1, 2, 4 and 8 channels (Chen et al. 2023, section 3).

    ``mixers`` (of ``PARTIAL_MIXERS``, one a stage) and ``spatial`` are what PartialNet adds: "channel" three times,
    then "self" (Huang et al. 2025, arXiv:2502.01303; its networks with learned divisions are not among the presets).
    """
    layer: dict[str, Any] = {"activation": activation, "spatial": spatial, "divisions": divisions}
    stages = [
        row(
            f"stage{i}", "partial_conv_block", base * 2 ** (i - 1), depth, min(2, i), scaled=False, mixer=mixer, **layer
        )
        for i, (depth, mixer) in enumerate(zip(depths, mixers, strict=True), 1)
    ]
    return StagedSpace(
        "fasternet",
        [
            one("stem", "patch_conv_bn", base, stem_stride, scaled=False),
            *stages,
            one("head", "pooled_conv_act", 1280, scaled=False, activation=activation, bias=False),
        ],
    )


_PAPER = "Chen et al. 2023, arXiv:2303.03667"

FASTERNET_PRESETS: Mapping[str, Preset] = {
    "fasternet_t0": Preset(partial(fasternet, 40, (1, 2, 8, 2), "gelu"), _PAPER),
    "fasternet_t1": Preset(partial(fasternet, 64, (1, 2, 8, 2), "gelu"), _PAPER),
    "fasternet_t2": Preset(partial(fasternet, 96, (1, 2, 8, 2)), _PAPER),
    "fasternet_s": Preset(partial(fasternet, 128, (1, 2, 13, 2)), _PAPER),
    "fasternet_m": Preset(partial(fasternet, 144, (3, 4, 18, 3)), _PAPER),
    "fasternet_l": Preset(partial(fasternet, 192, (3, 4, 18, 3)), _PAPER),
}
