"""GhostNet, GhostNetV2 and GhostNetV3, and the space around them."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from search_spaces.architecture import Option
from search_spaces.channels import make_divisible
from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace, listed


class _Layer(NamedTuple):
    kernel: int
    inner_channels: int
    attention: str = "none"


class _Row(NamedTuple):
    name: str
    out_channels: int
    stride: int
    layers: tuple[_Layer, ...]


# Han et al. 2020, table 1; the first layer of a size apart
_TABLE = (
    _Row("stage1", 16, 1, (_Layer(3, 16),)),
    _Row("down2", 24, 2, (_Layer(3, 48),)),
    _Row("stage2", 24, 1, (_Layer(3, 72),)),
    _Row("down3", 40, 2, (_Layer(5, 72, "se"),)),
    _Row("stage3", 40, 1, (_Layer(5, 120, "se"),)),
    _Row("down4", 80, 2, (_Layer(3, 240),)),
    _Row("stage4", 80, 1, (_Layer(3, 200), _Layer(3, 184), _Layer(3, 184))),
    _Row("stage5", 112, 1, (_Layer(3, 480, "se"), _Layer(3, 672, "se"))),
    _Row("down6", 160, 2, (_Layer(5, 672, "se"),)),
    _Row("stage6", 160, 1, (_Layer(5, 960), _Layer(5, 960, "se")) * 2),
)
_STEM_CHANNELS = 16
_NO_DFC = ("stage1", "down2")
"""Too large for the attention of GhostNetV2."""


def ghostnet_v2(
    name: str = "ghostnet_v2",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.25, 0.5, 1.0, 1.3, 1.6),
    resolution: tuple[int, ...] | None = None,
    kernel: tuple[int, ...] = (3, 5),
    expand: tuple[float, ...] = (2.3, 2.5, 3.0, 6.0),
    depth: tuple[int, ...] = (1, 2, 3, 4),
    attention: tuple[str, ...] = ("none", "se"),
    dfc: tuple[bool, ...] = (False, True),
) -> StagedSpace:
    """Ghost bottlenecks (Tang et al. 2022, GhostNetV2) with a choice of depth, width, resolution and of each layer.

    A layer chooses its expansion, the kernel of its cheap convolutions, squeeze-and-excitation and long-range
    attention; the layers that halve the size also the kernel with which they do. ``early_strides=False`` keeps the
    size in the stem and the first two of these, for inputs of 16 to 32 pixels, and lets the last layer before the
    classifier scale with the width.
    """
    early = 2 if early_strides else 1
    if resolution is None:
        resolution = (96, 128, 160, 192, 224) if early_strides else (16, 24, 32)
    layer: Options = {"expand": expand, "attention": attention, "dfc": dfc, "cheap_kernel": kernel}
    first: Options = {"kernel": (3,), "expand": (1.0,)}
    stages = []
    for row in _TABLE:
        down = row.name.startswith("down")
        options = first if row.name == "stage1" else {**layer, "kernel": kernel if down else (3,)}
        stages.append(
            Stage(
                row.name,
                "ghost_bottleneck",
                row.out_channels,
                early if row.name in ("down2", "down3") else row.stride,
                (1,) if down or row.name == "stage1" else depth,
                options,
                divisor=4,
                single=down,
            )
        )
    return StagedSpace(
        name,
        _with_ends(stages, early, scaled=not early_strides),
        width=width,
        resolution=resolution,
    )


def ghostnet(multiplier: float = 1.0, dfc: bool = False, branches: int = 1) -> StagedSpace:
    """GhostNet at a multiplier of all widths, those inside of the bottlenecks included (Han et al. 2020, table 1).

    ``dfc`` gives the attention of GhostNetV2 to all layers but the first two (Tang et al. 2022, section 3.3),
    ``branches`` 3 the training graph of GhostNetV3 (Liu et al. 2024, section 3.1).
    """
    stages = []
    before = make_divisible(_STEM_CHANNELS * multiplier, 4)
    for row in _TABLE:
        channels = make_divisible(row.out_channels * multiplier, 4)
        inputs = (before, *(channels,) * (len(row.layers) - 1))
        inner = [make_divisible(layer.inner_channels * multiplier, 4) for layer in row.layers]
        rules = {
            "kernel": listed(*(layer.kernel for layer in row.layers)),
            "expand": listed(*(wide / narrow for wide, narrow in zip(inner, inputs, strict=True))),
            "attention": listed(*(layer.attention for layer in row.layers)),
        }
        options: Options = {"dfc": (dfc and row.name not in _NO_DFC,), "branches": (branches,)}
        stages.append(
            Stage(
                row.name,
                "ghost_bottleneck",
                row.out_channels,
                row.stride,
                (len(row.layers),),
                options,
                divisor=4,
                single=row.name.startswith("down"),
                rules=rules,
            )
        )
        before = channels
    return StagedSpace("ghostnet", _with_ends(stages, 2, scaled=False), width=(multiplier,))


def _with_ends(stages: Iterable[Stage], stem_stride: int, scaled: bool) -> list[Stage]:
    """The stages between the stem and the two layers before the classifier, the last of which may scale."""
    relu: Options = {"activation": ("relu",)}
    conv = partial(Stage, divisor=4, single=True)
    return [
        conv("stem", "conv_bn_act", _STEM_CHANNELS, stem_stride, options={"kernel": (3,), **relu}),
        *stages,
        conv("head", "conv_bn_act", 960, options={"kernel": (1,), **relu}),
        conv("features", "pooled_conv_act", 1280, options=relu, scaled=scaled),
    ]


def _point(dfc: bool) -> dict[str, Option]:
    """GhostNet 1.0x, with or without the attention of GhostNetV2."""
    choices: dict[str, Option] = {"width": 1.0, "resolution": 224}
    before = _STEM_CHANNELS
    for row in _TABLE:
        down = row.name.startswith("down")
        if not down and row.name != "stage1":
            choices[f"{row.name}.depth"] = len(row.layers)
        for number, layer in enumerate(row.layers, 1):
            prefix = row.name if down else f"{row.name}.layer{number}"
            if down:
                choices[f"{prefix}.kernel"] = layer.kernel
            if row.name != "stage1":
                choices |= {
                    f"{prefix}.expand": layer.inner_channels / before,
                    f"{prefix}.attention": layer.attention,
                    f"{prefix}.dfc": dfc and row.name not in _NO_DFC,
                    f"{prefix}.cheap_kernel": 3,
                }
            before = row.out_channels
    return choices


_V1 = "Han et al. 2020, arXiv:1911.11907"
_V2 = "Tang et al. 2022, arXiv:2211.12905"
_V3 = "Liu et al. 2024, arXiv:2404.11202"

GHOSTNET_PRESETS: Mapping[str, Preset] = {
    "ghostnet_050": Preset(partial(ghostnet, 0.5), _V1),
    "ghostnet_100": Preset(ghostnet_v2, _V1, _point(dfc=False)),
    "ghostnet_130": Preset(partial(ghostnet, 1.3), _V1),
    "ghostnetv2_100": Preset(ghostnet_v2, _V2, _point(dfc=True)),
    "ghostnetv2_130": Preset(partial(ghostnet, 1.3, dfc=True), _V2),
    "ghostnetv2_160": Preset(partial(ghostnet, 1.6, dfc=True), _V2),
    "ghostnetv3_050": Preset(partial(ghostnet, 0.5, dfc=True, branches=3), _V3),
    "ghostnetv3_100": Preset(partial(ghostnet, 1.0, dfc=True, branches=3), _V3),
    "ghostnetv3_130": Preset(partial(ghostnet, 1.3, dfc=True, branches=3), _V3),
    "ghostnetv3_160": Preset(partial(ghostnet, 1.6, dfc=True, branches=3), _V3),
}
