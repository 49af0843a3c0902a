"""ResNet-50 whose 3 x 3 convolutions are max pools (Han et al. 2022)."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def pool_resnet(
    name: str = "pool_resnet", *, depths: tuple[int, ...] = (3, 4, 6, 3), strided_conv: bool = False
) -> StagedSpace:
    """ResNet (He et al. 2016, table 1) of ``pool_bottleneck``; ``strided_conv`` keeps its strided convolutions."""
    stem: Options = {"kernel": (7,), "activation": ("relu",)}
    stages = [Stage("stem", "resnet_stem", 64, 2, options=stem, single=True)]
    options: Options = {"strided_conv": (strided_conv,)}
    for i, (width, depth) in enumerate(zip((256, 512, 1024, 2048), depths, strict=True), 1):
        stages.append(Stage(f"stage{i}", "pool_bottleneck", width, 1 if i == 1 else 2, (depth,), options))
    return StagedSpace(name, stages)


_PAPER = "Han et al. 2022, arXiv:2202.02777"

POOL_RESNET_PRESETS: Mapping[str, Preset] = {
    "resnet50_max": Preset(pool_resnet, _PAPER),
    "resnet50_hybrid": Preset(partial(pool_resnet, "pool_resnet_hybrid", strided_conv=True), _PAPER),
}
