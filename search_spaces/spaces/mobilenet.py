"""Spaces around MobileNetV1 and V2."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row, scaled_depth
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
    fixed_ends: bool = False,
) -> StagedSpace:
    """MobileNetV2 (Sandler et al. 2018, table 2) with a choice of depth, width, resolution, kernel and expansion.

    ``early_strides=False`` keeps the size in the stem and the first two strided stages, for inputs of
    8 to 32 pixels. ``head_floor`` is the least width of the head, 1280 as published whatever the multiplier;
    ``divisor`` is what channels are rounded to; ``fixed_ends``: the width multiplier leaves out stem and head.
    """
    early = 2 if early_strides else 1
    layer: Options = {"kernel": kernel, "expand": (3, 6), "attention": ("none",), "activation": ("relu6",)}
    first: Options = {"kernel": (3,), "expand": (1,), "attention": ("none",), "activation": ("relu6",)}
    conv: Options = {"activation": ("relu6",)}
    stage = partial(Stage, divisor=divisor)
    end = partial(stage, block="conv_bn_act", single=True, scaled=not fixed_ends)
    return StagedSpace(
        name,
        [
            end("stem", out_channels=32, stride=early, options={"kernel": (3,), **conv}),
            stage("stage1", "inverted_residual", 16, options=first),
            stage("stage2", "inverted_residual", 24, early, depth, layer),
            stage("stage3", "inverted_residual", 32, early, depth, layer),
            stage("stage4", "inverted_residual", 64, 2, depth, layer),
            stage("stage5", "inverted_residual", 96, 1, depth, layer),
            stage("stage6", "inverted_residual", 160, 2, depth, layer),
            stage("stage7", "inverted_residual", 320, 1, options=layer),
            end("head", out_channels=1280, options={"kernel": (1,), **conv}, min_channels=head_floor),
        ],
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


def mobilenet_v1(name: str = "mobilenet_v1", *, head: bool = False) -> StagedSpace:
    """MobileNetV1 (Howard et al. 2017, table 1): depthwise separable convolutions, ReLU6 as in the authors' code.

    ``head`` adds a pointwise convolution of at least 1024 channels before the pooling.
    """
    table = [(64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2)]
    stages = [
        row(f"stage{i}", "depthwise_separable", channels, depth, stride, kernel=3, activation="relu6")
        for i, (channels, depth, stride) in enumerate(table, 1)
    ]
    stem = one("stem", "conv_bn_act", 32, 2, kernel=3, activation="relu6")
    last = [one("head", "conv_bn_act", 1024, least=1024, kernel=1, activation="relu6")] if head else []
    return StagedSpace(name, [stem, *stages, *last], width=(0.25, 0.5, 0.75, 1.0, 1.25))


def _v2_point(width: float, depth: float = 1.0) -> dict[str, Option]:
    """The published network at multipliers of width and depth (which leaves out the first and the last stage)."""
    choices: dict[str, Option] = {"width": width, "resolution": 224}
    for stage, layers in enumerate((2, 3, 4, 3, 3, 1), 2):
        layers = scaled_depth(layers, depth) if stage < 7 else 1
        if stage < 7:
            choices[f"stage{stage}.depth"] = layers
        for layer in range(1, layers + 1):
            choices |= {f"stage{stage}.layer{layer}.kernel": 3, f"stage{stage}.layer{layer}.expand": 6}
    return choices


_V1 = "Howard et al. 2017, arXiv:1704.04861"
_V2 = "Sandler et al. 2018, arXiv:1801.04381"
_deep_v2 = partial(mobilenet_v2, "mobilenet_v2_deep", width=(1.1, 1.2), depth=(1, 2, 3, 4, 5, 6), fixed_ends=True)

MOBILENET_PRESETS: Mapping[str, Preset] = {
    "mobilenetv1_100": Preset(mobilenet_v1, _V1, {"width": 1.0}),
    "mobilenetv1_100h": Preset(partial(mobilenet_v1, "mobilenet_v1_head", head=True), _V1, {"width": 1.0}),
    "mobilenetv1_125": Preset(mobilenet_v1, _V1, {"width": 1.25}),
    "mobilenetv2_035": Preset(mobilenet_v2, _V2, _v2_point(0.35)),
    "mobilenetv2_050": Preset(mobilenet_v2, _V2, _v2_point(0.5)),
    "mobilenetv2_075": Preset(mobilenet_v2, _V2, _v2_point(0.75)),
    "mobilenetv2_100": Preset(mobilenet_v2, _V2, _v2_point(1.0)),
    "mobilenetv2_110d": Preset(_deep_v2, _V2, _v2_point(1.1, 1.2)),
    "mobilenetv2_120d": Preset(_deep_v2, _V2, _v2_point(1.2, 1.4)),
    "mobilenetv2_140": Preset(mobilenet_v2, _V2, _v2_point(1.4)),
}
