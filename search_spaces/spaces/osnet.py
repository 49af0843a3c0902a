"""OSNet: omni-scale networks for re-identification, input 256 x 128 pixels."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace, listed


def osnet(name: str = "osnet", *, stem_norm: str = "batch", norms: str = "bbbbbb", sum_norms: int = 0) -> StagedSpace:
    """OSNet (Zhou et al. 2019, table 1) with the choice of its width multipliers.

    ``norms`` has a letter for each of the six blocks: "b" batch or "i" instance norm in the residual branch;
    the first ``sum_norms`` of the three stages have instance norm after each sum.
    """
    stem: Options = {"kernel": (7,), "activation": ("relu",), "norm": (stem_norm,)}
    stages = [Stage("stem", "resnet_stem", 64, 2, options=stem, single=True)]
    for i, width in enumerate((256, 384, 512)):
        own = ["instance" if letter == "i" else "batch" for letter in norms[2 * i : 2 * i + 2]]
        options: Options = {"sum_norm": ("instance" if i < sum_norms else "none",)}
        stages.append(Stage(f"stage{i + 1}", "omni_scale", width, 1, (2,), options, rules={"norm": listed(*own)}))
        if i < 2:
            stages.append(Stage(f"transition{i + 1}", "pooled_transition", width, 2, single=True))
    last: Options = {"kernel": (1,), "activation": ("relu",)}
    stages.append(Stage("last", "conv_bn_act", 512, options=last, single=True))
    stages.append(Stage("head", "dense_head", 512, scaled=False, single=True))
    return StagedSpace(name, stages, width=(0.25, 0.5, 0.75, 1.0))


_PAPER = "Zhou et al. 2019, arXiv:1905.00953"
_AIN_PAPER = "Zhou et al. 2019, arXiv:1910.06827"

_IBN = partial(osnet, "osnet_ibn", stem_norm="instance", sum_norms=1)
_AIN = partial(osnet, "osnet_ain", stem_norm="instance", norms="iibiib")
_SIZE = (256, 128)

OSNET_PRESETS: Mapping[str, Preset] = {
    "osnet_x1_0": Preset(osnet, _PAPER, {"width": 1.0}, _SIZE),
    "osnet_x0_75": Preset(osnet, _PAPER, {"width": 0.75}, _SIZE),
    "osnet_x0_5": Preset(osnet, _PAPER, {"width": 0.5}, _SIZE),
    "osnet_x0_25": Preset(osnet, _PAPER, {"width": 0.25}, _SIZE),
    "osnet_ibn_x1_0": Preset(_IBN, _AIN_PAPER, {"width": 1.0}, _SIZE),
    "osnet_ain_x1_0": Preset(_AIN, _AIN_PAPER, {"width": 1.0}, _SIZE),
}
