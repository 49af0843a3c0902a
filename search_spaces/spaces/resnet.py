"""Residual networks with bottlenecks."""

from collections.abc import Mapping

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def resnet(depths: tuple[int, int, int, int] = (3, 4, 6, 3)) -> StagedSpace:
    """ResNet with bottleneck blocks (He et al. 2016, table 1); the stride sits on the 3 x 3 convolution."""
    layer: Options = {"kernel": (3,), "reduction": (4,), "activation": ("relu",)}
    stages = [
        Stage(f"stage{i}", "bottleneck_residual", channels, stride, (depth,), layer)
        for i, (channels, depth, stride) in enumerate(zip((256, 512, 1024, 2048), depths, (1, 2, 2, 2), strict=True), 1)
    ]
    stem = Stage("stem", "resnet_stem", 64, 2, options={"kernel": (7,), "activation": ("relu",)}, single=True)
    return StagedSpace("resnet", [stem, *stages])


RESNET_PRESETS: Mapping[str, Preset] = {"resnet50": Preset(resnet, "He et al. 2016, arXiv:1512.03385")}
