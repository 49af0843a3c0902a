"""UniRepLKNet: large kernels made of dilated ones."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


def unireplknet(
    name: str = "unireplknet",
    *,
    width: int = 80,
    depths: tuple[int, ...] = (2, 2, 8, 2),
    kernel: int = 13,
    third: tuple[int, ...] = (13,),
    stem_stride: int = 4,
) -> StagedSpace:
    """UniRepLKNet (Ding et al. 2024, table 2).

    ``width`` doubles from stage to stage. Stage 1 has 3 x 3 kernels, stages 2 and 4 ``kernel``, stage 3 those of
    ``third`` in turn. ``stem_stride`` 1 or 2 is for small images.
    """
    kernels = ((3,), (kernel,), third, (kernel,))
    stages = [one("stem", "conv_stem", width, stem_stride, mid_norm=True, activation="gelu")]
    for i, (depth, turn) in enumerate(zip(depths, kernels, strict=True)):
        by_layer = tuple([turn[layer % len(turn)] for layer in range(depth)])
        stages.append(row(f"stage{i + 1}", "unireplknet_block", width << i, depth, 2 if i else 1, kernel=by_layer))
    return StagedSpace(name, [*stages, one("head", "pooled_head", width << 3)])


_PAPER = "Ding et al. 2024, arXiv:2311.15599"

UNIREPLKNET_PRESETS: Mapping[str, Preset] = {
    "unireplknet_a": Preset(partial(unireplknet, width=40, depths=(2, 2, 6, 2)), _PAPER),
    "unireplknet_f": Preset(partial(unireplknet, width=48, depths=(2, 2, 6, 2)), _PAPER),
    "unireplknet_p": Preset(partial(unireplknet, width=64, depths=(2, 2, 6, 2)), _PAPER),
    "unireplknet_n": Preset(unireplknet, _PAPER),
    "unireplknet_t": Preset(partial(unireplknet, depths=(3, 3, 18, 3), third=(13, 3)), _PAPER),
    "unireplknet_s": Preset(partial(unireplknet, width=96, depths=(3, 3, 27, 3), third=(13, 3, 3)), _PAPER),
}
"""Parameters are those of training; the published counts are those of the deployed networks."""
