"""FasterNet: stages of partial convolutions."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


def fasternet(
    base: int = 128,
    depths: tuple[int, int, int, int] = (1, 2, 13, 2),
    activation: str = "relu",
    divisions: int = 4,
    stem_stride: int = 4,
) -> StagedSpace:
    """Four stages of ``base`` times 1, 2, 4 and 8 channels (Chen et al. 2023, section 3)."""
    layer = {"activation": activation, "divisions": divisions}
    return StagedSpace(
        "fasternet",
        [
            one("stem", "patch_conv_bn", base, stem_stride, scaled=False),
            *(
                row(f"stage{i + 1}", "partial_conv_block", base * 2**i, depth, min(2, i + 1), scaled=False, **layer)
                for i, depth in enumerate(depths)
            ),
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
