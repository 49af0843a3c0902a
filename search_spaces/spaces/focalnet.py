"""FocalNet."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def focalnet(
    name: str = "focalnet",
    *,
    width: int = 96,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    levels: int = 2,
    window: int = 3,
    stem_stride: int = 4,
) -> StagedSpace:
    """FocalNet (Yang et al. 2022, section 3); ``levels`` and ``window`` as in ``focal_modulation``.

    ``width`` is that of the first stage, doubled in each of the others.
    """
    layer: Options = {"levels": (levels,), "window": (window,)}
    patch: Options = {"kernel": (stem_stride,), "eps": (1e-5,)}
    stages = [Stage("stem", "patch_embedding", width, stem_stride, options=patch, single=True)]
    for i, depth in enumerate(depths):
        stages.append(Stage(f"stage{i + 1}", "focal_block", width << i, 2 if i else 1, (depth,), layer))
    head: Options = {"norm_place": ("before",), "eps": (1e-5,)}
    stages.append(Stage("head", "pooled_head", width << (len(depths) - 1), options=head, single=True))
    return StagedSpace(name, stages)


_PAPER = "Yang et al. 2022, arXiv:2203.11926"

_SMALL = partial(focalnet, depths=(2, 2, 18, 2))
_BASE = partial(_SMALL, width=128)

FOCALNET_PRESETS: Mapping[str, Preset] = {
    "focalnet_tiny_srf": Preset(focalnet, _PAPER),
    "focalnet_small_srf": Preset(_SMALL, _PAPER),
    "focalnet_base_srf": Preset(_BASE, _PAPER),
    "focalnet_tiny_lrf": Preset(partial(focalnet, levels=3), _PAPER),
    "focalnet_small_lrf": Preset(partial(_SMALL, levels=3), _PAPER),
    "focalnet_base_lrf": Preset(partial(_BASE, levels=3), _PAPER),
}
