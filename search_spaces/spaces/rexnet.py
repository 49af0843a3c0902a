"""ReXNet: inverted residuals whose width grows by the same step in every layer."""

from collections.abc import Mapping
from functools import partial
from math import ceil

from search_spaces.channels import make_divisible
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one
from search_spaces.staged import Options, Stage, StagedSpace, listed

_DEPTHS = (1, 2, 2, 3, 3, 5)
_STRIDES = (1, 2, 2, 2, 1, 2)


def rexnet(
    width: float = 1.0, depth: float = 1.0, divisor: int = 1, se_ratio: float = 1 / 12, stem_stride: int = 2
) -> StagedSpace:
    """ReXNet at multipliers of width and depth (Han et al. 2021).

    The layers have 16 to 196 channels at width 1, of which the first 16 and the stem's 32 do not shrink below it.
    ``divisor`` is what widths are rounded to.
    """
    depths = [ceil(layers * depth) for layers in _DEPTHS]
    step = 180 / sum(depths)
    channels = []
    current: float = 16 / min(width, 1.0)
    for _ in range(sum(depths)):
        channels.append(make_divisible(round(current * width), divisor))
        current += step
    stages = []
    first = 0
    for number, (layers, stride) in enumerate(zip(depths, _STRIDES, strict=True), 1):
        widths = channels[first : first + layers]
        first += layers
        layer: Options = {
            "expand": (6.0 if number > 1 else 1.0,),
            "se_ratio": (se_ratio if number > 2 else 0.0,),
            "divisor": (divisor,),
        }
        stages.append(
            Stage(
                f"stage{number}",
                "rexnet_bottleneck",
                widths[-1],
                stride,
                (layers,),
                layer,
                scaled=False,
                rules={"out_channels": listed(*widths)},
            )
        )
    stem = make_divisible(round(32 * max(width, 1.0)), divisor)
    head = make_divisible(1280 * width, divisor)
    return StagedSpace(
        "rexnet",
        [
            one("stem", "conv_bn_act", stem, stem_stride, scaled=False, kernel=3, activation="silu"),
            *stages,
            one("head", "conv_bn_act", head, scaled=False, kernel=1, activation="silu"),
        ],
    )


_PAPER = "Han et al. 2021, arXiv:2007.00992"

REXNET_PRESETS: Mapping[str, Preset] = {
    "rexnet_100": Preset(rexnet, _PAPER),
    "rexnet_130": Preset(partial(rexnet, 1.3), _PAPER),
    "rexnet_150": Preset(partial(rexnet, 1.5), _PAPER),
    "rexnet_200": Preset(partial(rexnet, 2.0), _PAPER),
    "rexnet_300": Preset(partial(rexnet, 3.0), _PAPER),
    "rexnetr_100": Preset(partial(rexnet, divisor=8), _PAPER),
    "rexnetr_130": Preset(partial(rexnet, 1.3, divisor=8), _PAPER),
    "rexnetr_150": Preset(partial(rexnet, 1.5, divisor=8), _PAPER),
    "rexnetr_200": Preset(partial(rexnet, 2.0, divisor=8), _PAPER),
    "rexnetr_300": Preset(partial(rexnet, 3.0, divisor=16), _PAPER),
}
