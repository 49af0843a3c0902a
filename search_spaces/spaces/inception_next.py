"""InceptionNeXt."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def inception_next(
    name: str = "inception_next",
    *,
    widths: tuple[int, ...] = (96, 192, 384, 768),
    depths: tuple[int, ...] = (3, 3, 9, 3),
    band: int = 11,
    ratio: float = 0.125,
    stem_stride: int = 4,
) -> StagedSpace:
    """InceptionNeXt (Yu et al. 2023, section 3.3); ``band`` and ``ratio`` as in ``inception_next_block``."""
    patch: Options = {"kernel": (stem_stride,), "norm": ("batch",), "eps": (1e-5,)}
    stages = [Stage("stem", "patch_embedding", widths[0], stem_stride, options=patch, single=True)]
    for i, (channels, depth, mlp_ratio) in enumerate(zip(widths, depths, (4.0, 4.0, 4.0, 3.0), strict=True), 1):
        layer: Options = {"band": (band,), "ratio": (ratio,), "mlp_ratio": (mlp_ratio,)}
        stages.append(Stage(f"stage{i}", "inception_next_block", channels, 1 if i == 1 else 2, (depth,), layer))
    head: Options = {"norm_place": ("none",), "mlp_ratio": (3.0,), "inner_norm": (True,)}
    stages.append(Stage("head", "pooled_head", widths[-1], options=head, single=True))
    return StagedSpace(name, stages)


_PAPER = "Yu et al. 2023, arXiv:2303.16900"

_ATTO = partial(inception_next, widths=(40, 80, 160, 320), depths=(2, 2, 6, 2), band=9, ratio=0.25)
_SMALL = partial(inception_next, depths=(3, 3, 27, 3))
_BASE = partial(inception_next, widths=(128, 256, 512, 1024), depths=(3, 3, 27, 3))

INCEPTION_NEXT_PRESETS: Mapping[str, Preset] = {
    "inception_next_atto": Preset(_ATTO, _PAPER),
    "inception_next_tiny": Preset(inception_next, _PAPER),
    "inception_next_small": Preset(_SMALL, _PAPER),
    "inception_next_base": Preset(_BASE, _PAPER),
}
