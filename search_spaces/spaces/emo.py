"""EMOv2: inverted residuals, in the last two stages with attention in windows as their expansion."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace, listed


def emo(
    name: str,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    expands: tuple[float, ...],
    heads: tuple[int, ...],
    *,
    window: int = 7,
    mixing: str = "both",
) -> StagedSpace:
    """EMOv2 (Zhang et al. 2024, table 3), by its widths, depths, expansions and channels of a head, stage by stage.

    The first layer of a stage has twice the expansion and no attention. ``window`` is 7 for inputs of 224 pixels,
    8 for 256; ``mixing`` is what the layers of the last two stages attend to.
    """
    stages = [Stage("stem", "emo_stem", widths[0] // 2, 2, scaled=False, single=True)]
    for i, (width, depth, expand, head) in enumerate(zip(widths, depths, expands, heads, strict=True), 1):
        late = i > 2
        options: Options = {
            "window": (window,),
            "head_channels": (head,),
            "norm": ("layer" if late else "batch",),
            "activation": ("gelu" if late else "silu",),
        }
        rules = {
            "expand": listed(2 * expand, *[expand] * (depth - 1)),
            "mixing": listed("none", *[mixing if late else "none"] * (depth - 1)),
        }
        block = "inverted_residual_attention"
        stages.append(Stage(f"stage{i}", block, width, 2, (depth,), options, scaled=False, rules=rules))
    norm: Options = {"norm_place": ("before",)}
    stages.append(Stage("head", "pooled_head", widths[-1], options=norm, scaled=False, single=True))
    return StagedSpace(name, stages)


_PAPER = "Zhang et al. 2024, arXiv:2412.06674"

_SIZES = {
    "1m": ((32, 48, 80, 180), (2, 2, 8, 3), (2.0, 2.5, 3.0, 3.5), (16, 16, 20, 20)),
    "2m": ((32, 48, 120, 200), (3, 3, 9, 3), (2.0, 2.5, 3.0, 3.5), (16, 16, 20, 20)),
    "5m": ((48, 72, 160, 288), (3, 3, 9, 3), (2.0, 3.0, 4.0, 4.0), (16, 24, 32, 32)),
    "20m": ((64, 128, 320, 448), (3, 3, 13, 3), (2.0, 3.0, 4.0, 4.0), (16, 32, 32, 32)),
    "50m": ((64, 128, 384, 512), (5, 8, 20, 7), (2.0, 3.0, 4.0, 4.0), (16, 32, 32, 32)),
}

EMO_PRESETS: Mapping[str, Preset] = {
    f"emo2_{size}": Preset(partial(emo, f"emo2_{size}", *rule), _PAPER) for size, rule in _SIZES.items()
}
