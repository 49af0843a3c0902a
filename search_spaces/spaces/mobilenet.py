"""Spaces around MobileNetV1 and V2."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def mobilenet_v2(
    name: str = "mobilenet_v2",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.35, 0.5, 0.75, 1.0, 1.4),
    resolution: tuple[int, ...] = (96, 128, 160, 192, 224),
    kernel: tuple[int, ...] = (3, 5, 7),
    depth: tuple[int, ...] = (1, 2, 3, 4),
    head_floor: int = 1280,
    divisor: int = 8,
) -> StagedSpace:
    """MobileNetV2 (Sandler et al. 2018, table 2) with a choice of depth, width, resolution, kernel and expansion.

    ``early_strides=False`` keeps the size in the stem and the first two strided stages, for inputs of
    8 to 32 pixels. ``head_floor`` is the least width of the head, 1280 as published whatever the multiplier;
    ``divisor`` is what channels are rounded to.
    """
    early = 2 if early_strides else 1
    layer: Options = {"kernel": kernel, "expand": (3, 6), "attention": ("none",), "activation": ("relu6",)}
    first: Options = {"kernel": (3,), "expand": (1,), "attention": ("none",), "activation": ("relu6",)}
    conv: Options = {"activation": ("relu6",)}
    stage = partial(Stage, divisor=divisor)
    return StagedSpace(
        name,
        [
            stage("stem", "conv_bn_act", 32, early, options={"kernel": (3,), **conv}, single=True),
            stage("stage1", "inverted_residual", 16, options=first),
            stage("stage2", "inverted_residual", 24, early, depth, layer),
            stage("stage3", "inverted_residual", 32, early, depth, layer),
            stage("stage4", "inverted_residual", 64, 2, depth, layer),
            stage("stage5", "inverted_residual", 96, 1, depth, layer),
            stage("stage6", "inverted_residual", 160, 2, depth, layer),
            stage("stage7", "inverted_residual", 320, 1, options=layer),
            stage("head", "conv_bn_act", 1280, options={"kernel": (1,), **conv}, min_channels=head_floor, single=True),
        ],
        description="Inverted residuals with a choice of resolution, width, depth, kernel and expansion.",
        paper="Sandler et al. 2018, arXiv:1801.04381",
        width=width,
        resolution=resolution,
    )


def mobilenet_v2_small() -> StagedSpace:
    """``mobilenet_v2`` for inputs of 8 to 32 pixels: no early strides, smaller options, a head that scales along."""
    return mobilenet_v2(
        "mobilenet_v2_small",
        early_strides=False,
        width=(0.05, 0.1, 0.2, 0.35, 0.5),
        resolution=(8, 16, 32),
        divisor=4,
        kernel=(3, 5),
        depth=(1, 2, 3),
        head_floor=0,
    )


def mobilenet_v1() -> StagedSpace:
    """MobileNetV1 (Howard et al. 2017, table 1): depthwise separable convolutions."""
    layer: Options = {"kernel": (3,), "activation": ("relu",)}
    rows = [(64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2)]
    stages = [
        Stage(f"stage{i}", "depthwise_separable", channels, stride, (depth,), layer)
        for i, (channels, depth, stride) in enumerate(rows, 1)
    ]
    stem = Stage("stem", "conv_bn_act", 32, 2, options=layer, single=True)
    return StagedSpace("mobilenet_v1", [stem, *stages], width=(0.25, 0.5, 0.75, 1.0))


def _v2_point(width: float) -> dict[str, Option]:
    choices: dict[str, Option] = {"width": width, "resolution": 224}
    for stage, depth in enumerate((2, 3, 4, 3, 3, 1), 2):
        if stage < 7:
            choices[f"stage{stage}.depth"] = depth
        for layer in range(1, depth + 1):
            choices |= {f"stage{stage}.layer{layer}.kernel": 3, f"stage{stage}.layer{layer}.expand": 6}
    return choices


_V1 = "Howard et al. 2017, arXiv:1704.04861"
_V2 = "Sandler et al. 2018, arXiv:1801.04381"

MOBILENET_PRESETS: Mapping[str, Preset] = {
    "mobilenetv1_100": Preset(mobilenet_v1, _V1, {"width": 1.0}),
    "mobilenetv2_100": Preset(mobilenet_v2, _V2, _v2_point(1.0)),
    "mobilenetv2_140": Preset(mobilenet_v2, _V2, _v2_point(1.4)),
}
