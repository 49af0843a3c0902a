"""ResNet and the networks that vary its stem, shortcut, groups, attention, downsampling and norms."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from search_spaces.preset import Preset
from search_spaces.stage import Rule
from search_spaces.staged import Options, Stage, StagedSpace


def resnet(
    name: str = "resnet",
    *,
    block: str = "bottleneck_residual",
    depths: tuple[int, ...] = (3, 4, 6, 3),
    widths: tuple[int, ...] = (256, 512, 1024, 2048),
    reduction: int = 4,
    narrowing: int = 1,
    groups: int = 1,
    attention: str = "none",
    stem: str = "single",
    stem_width: int = 64,
    stem_pool: str = "max",
    shortcut: str = "conv",
    downsample: str = "strided",
    early_stride: bool = False,
    norm: str = "batch",
    ibn: str = "",
    early_strides: bool = True,
) -> StagedSpace:
    """ResNet (He et al. 2016, table 1) of ``block``, ``basic_residual`` or ``bottleneck_residual``.

    The arguments are those of the blocks and of ``resnet_stem``; ``reduction`` to ``groups`` and ``early_stride``
    hold for bottlenecks alone. ``ibn`` "a" has instance norm beside batch norm in the first three stages, "b" has it
    in the stem and after the last sum of the first two (Pan et al. 2018, arXiv:1807.09441, section 4.1).
    ``early_strides=False`` keeps the size in the stem, for inputs of 8 to 64 pixels.
    """
    layer: Options = {
        "kernel": (3,),
        "activation": ("relu",),
        "attention": (attention,),
        "shortcut": (shortcut,),
        "downsample": (downsample,),
        "norm": (norm,),
    }
    if block == "bottleneck_residual":
        inner = {"reduction": reduction, "narrowing": narrowing, "groups": groups, "early_stride": early_stride}
        layer = {**layer, **{argument: (value,) for argument, value in inner.items()}}
    stages = []
    for i, (channels, depth) in enumerate(zip(widths, depths, strict=True), 1):
        rules: dict[str, Rule] = {"sum_norm": _last_instance} if ibn == "b" and i < 3 else {}
        options = {**layer, "first_norm": ("ibn_a",)} if ibn == "a" and i < 4 else layer
        stages.append(Stage(f"stage{i}", block, channels, 1 if i == 1 else 2, (depth,), options, rules=rules))
    conv: Options = {
        "kernel": (7,),
        "activation": ("relu",),
        "form": (stem,),
        "pool": (stem_pool if early_strides else "none",),
        "norm": ("instance" if ibn == "b" else norm,),
    }
    first = Stage("stem", "resnet_stem", stem_width, 2 if early_strides else 1, options=conv, single=True)
    return StagedSpace(name, [first, *stages])


def _last_instance(index: int, depth: int) -> str:
    return "instance" if index == depth - 1 else "none"


_BASIC: Mapping[str, Any] = {"block": "basic_residual", "widths": (64, 128, 256, 512)}
_SIZES: Mapping[int, Mapping[str, Any]] = {
    10: {**_BASIC, "depths": (1, 1, 1, 1)},
    14: {"depths": (1, 1, 1, 1)},
    18: {**_BASIC, "depths": (2, 2, 2, 2)},
    26: {"depths": (2, 2, 2, 2)},
    34: {**_BASIC, "depths": (3, 4, 6, 3)},
    50: {"depths": (3, 4, 6, 3)},
    101: {"depths": (3, 4, 23, 3)},
    152: {"depths": (3, 8, 36, 3)},
    200: {"depths": (3, 24, 36, 3)},
    269: {"depths": (3, 30, 48, 8)},
}
"""Blocks and depths by the number of layers."""


def _net(layers: int, *variants: Mapping[str, Any], **options: Any) -> Callable[[], StagedSpace]:
    for variant in variants:
        options = {**variant, **options}
    return partial(resnet, **{**_SIZES[layers], **options})


_C: Mapping[str, Any] = {"stem": "deep"}
_D: Mapping[str, Any] = {"stem": "deep", "shortcut": "pool"}
_S: Mapping[str, Any] = {"stem": "deep", "stem_width": 128}
_T: Mapping[str, Any] = {"stem": "tiered", "shortcut": "pool"}
_X4: Mapping[str, Any] = {"groups": 32, "reduction": 2}
_X8: Mapping[str, Any] = {"groups": 32, "reduction": 1}
_X64: Mapping[str, Any] = {"groups": 64, "reduction": 1}
_SE: Mapping[str, Any] = {"attention": "se_16_of_8"}
_ECA: Mapping[str, Any] = {"attention": "eca"}
_AA: Mapping[str, Any] = {"downsample": "pooled", "stem_pool": "avg"}
_BLUR: Mapping[str, Any] = {"downsample": "blurred", "stem_pool": "max_blur"}
_RS: Mapping[str, Any] = {**_D, "attention": "se_sigmoid", "stem_pool": "conv"}
_CAFFE: Mapping[str, Any] = {"attention": "se_16", "stem_pool": "max_ceil"}
_SENET: Mapping[str, Any] = {**_S, **_X64, "narrowing": 2, "shortcut": "wide_conv"}

_PLAIN = "He et al. 2016, arXiv:1512.03385"
_TRICKS = "He et al. 2019, arXiv:1812.01187"
_WIDE = "Zagoruyko and Komodakis 2016, arXiv:1605.07146"
_RESNEXT = "Xie et al. 2017, arXiv:1611.05431"
_SENETS = "Hu et al. 2018, arXiv:1709.01507"
_ECANET = "Wang et al. 2020, arXiv:1910.03151"
_BLURRED = "Zhang 2019, arXiv:1904.11486"
_RESCALED = "Bello et al. 2021, arXiv:2103.07579"
_GROUPS = "Wu and He 2018, arXiv:1803.08494"
_IBN = "Pan et al. 2018, arXiv:1807.09441"

RESNET_PRESETS: Mapping[str, Preset] = {
    "resnet10t": Preset(_net(10, _T), _TRICKS, input_size=176),
    "resnet14t": Preset(_net(14, _T), _TRICKS, input_size=176),
    "resnet18": Preset(_net(18), _PLAIN),
    "resnet18d": Preset(_net(18, _D), _TRICKS),
    "resnet26": Preset(_net(26), _PLAIN),
    "resnet26d": Preset(_net(26, _D), _TRICKS),
    "resnet26t": Preset(_net(26, _T), _TRICKS, input_size=256),
    "resnet34": Preset(_net(34), _PLAIN),
    "resnet34d": Preset(_net(34, _D), _TRICKS),
    "resnet50": Preset(resnet, _PLAIN),
    "resnet50c": Preset(_net(50, _C), _TRICKS),
    "resnet50d": Preset(_net(50, _D), _TRICKS),
    "resnet50s": Preset(_net(50, _S), _TRICKS),
    "resnet50t": Preset(_net(50, _T), _TRICKS),
    "resnet50_gn": Preset(_net(50, norm="group"), _GROUPS),
    "resnet101": Preset(_net(101), _PLAIN),
    "resnet101c": Preset(_net(101, _C), _TRICKS),
    "resnet101d": Preset(_net(101, _D), _TRICKS, input_size=256),
    "resnet101s": Preset(_net(101, _S), _TRICKS),
    "resnet152": Preset(_net(152), _PLAIN),
    "resnet152c": Preset(_net(152, _C), _TRICKS),
    "resnet152d": Preset(_net(152, _D), _TRICKS, input_size=256),
    "resnet152s": Preset(_net(152, _S), _TRICKS),
    "resnet200": Preset(_net(200), _PLAIN),
    "resnet200d": Preset(_net(200, _D), _TRICKS, input_size=256),
    "wide_resnet50_2": Preset(_net(50, reduction=2), _WIDE),
    "wide_resnet101_2": Preset(_net(101, reduction=2), _WIDE),
    "resnext50_32x4d": Preset(_net(50, _X4), _RESNEXT),
    "resnext50d_32x4d": Preset(_net(50, _X4, _D), _RESNEXT),
    "resnext101_32x4d": Preset(_net(101, _X4), _RESNEXT),
    "resnext101_32x8d": Preset(_net(101, _X8), _RESNEXT),
    "resnext101_64x4d": Preset(_net(101, _X64), _RESNEXT),
    "seresnet18": Preset(_net(18, _SE), _SENETS),
    "seresnet34": Preset(_net(34, _SE), _SENETS),
    "seresnet50": Preset(_net(50, _SE), _SENETS),
    "seresnet50t": Preset(_net(50, _SE, _T), _SENETS),
    "seresnet101": Preset(_net(101, _SE), _SENETS),
    "seresnet152": Preset(_net(152, _SE), _SENETS),
    "seresnet152d": Preset(_net(152, _SE, _D), _SENETS, input_size=256),
    "seresnet200d": Preset(_net(200, _SE, _D), _SENETS, input_size=256),
    "seresnet269d": Preset(_net(269, _SE, _D), _SENETS, input_size=256),
    "seresnext26d_32x4d": Preset(_net(26, _SE, _X4, _D), _SENETS),
    "seresnext26t_32x4d": Preset(_net(26, _SE, _X4, _T), _SENETS),
    "seresnext50_32x4d": Preset(_net(50, _SE, _X4), _SENETS),
    "seresnext101_32x4d": Preset(_net(101, _SE, _X4), _SENETS),
    "seresnext101_32x8d": Preset(_net(101, _SE, _X8), _SENETS),
    "seresnext101_64x4d": Preset(_net(101, _SE, _X64), _SENETS),
    "seresnext101d_32x8d": Preset(_net(101, _SE, _X8, _D), _SENETS),
    "senet154": Preset(_net(152, _SE, _SENET), _SENETS),
    "legacy_seresnet50": Preset(_net(50, _CAFFE, early_stride=True), _SENETS),
    "legacy_seresnet101": Preset(_net(101, _CAFFE, early_stride=True), _SENETS),
    "legacy_seresnet152": Preset(_net(152, _CAFFE, early_stride=True), _SENETS),
    "legacy_seresnext26_32x4d": Preset(_net(26, _CAFFE, _X4), _SENETS),
    "legacy_seresnext50_32x4d": Preset(_net(50, _CAFFE, _X4), _SENETS),
    "legacy_seresnext101_32x4d": Preset(_net(101, _CAFFE, _X4), _SENETS),
    "legacy_senet154": Preset(_net(152, _CAFFE, _SENET), _SENETS),
    "ecaresnet26t": Preset(_net(26, _ECA, _T), _ECANET, input_size=256),
    "ecaresnet50d": Preset(_net(50, _ECA, _D), _ECANET),
    "ecaresnet50t": Preset(_net(50, _ECA, _T), _ECANET, input_size=256),
    "ecaresnet101d": Preset(_net(101, _ECA, _D), _ECANET),
    "ecaresnet200d": Preset(_net(200, _ECA, _D), _ECANET, input_size=256),
    "ecaresnet269d": Preset(_net(269, _ECA, _D), _ECANET, input_size=320),
    "ecaresnetlight": Preset(_net(50, _ECA, depths=(1, 1, 11, 3), shortcut="pool"), _ECANET),
    "ecaresnext26t_32x4d": Preset(_net(26, _ECA, _X4, _T), _ECANET),
    "ecaresnext50t_32x4d": Preset(_net(50, _ECA, _X4, _T), _ECANET),
    "resnetaa34d": Preset(_net(34, _AA, _D), _BLURRED),
    "resnetaa50": Preset(_net(50, _AA), _BLURRED),
    "resnetaa50d": Preset(_net(50, _AA, _D), _BLURRED),
    "resnetaa101d": Preset(_net(101, _AA, _D), _BLURRED),
    "seresnetaa50d": Preset(_net(50, _SE, _AA, _D), _BLURRED),
    "seresnextaa101d_32x8d": Preset(_net(101, _SE, _AA, _X8, _D), _BLURRED, input_size=288),
    "resnetblur18": Preset(_net(18, _BLUR), _BLURRED),
    "resnetblur50": Preset(_net(50, _BLUR), _BLURRED),
    "resnetblur50d": Preset(_net(50, _BLUR, _D), _BLURRED),
    "resnetblur101d": Preset(_net(101, _BLUR, _D), _BLURRED),
    "resnetrs50": Preset(_net(50, _RS), _RESCALED, input_size=160),
    "resnetrs101": Preset(_net(101, _RS), _RESCALED, input_size=192),
    "resnetrs152": Preset(_net(152, _RS), _RESCALED, input_size=256),
    "resnet18_ibn_a": Preset(_net(18, ibn="a"), _IBN),
    "resnet18_ibn_b": Preset(_net(18, ibn="b"), _IBN),
    "resnet34_ibn_a": Preset(_net(34, ibn="a"), _IBN),
    "resnet34_ibn_b": Preset(_net(34, ibn="b"), _IBN),
    "resnet50_ibn_a": Preset(_net(50, ibn="a"), _IBN),
    "resnet50_ibn_b": Preset(_net(50, ibn="b"), _IBN),
    "resnet101_ibn_a": Preset(_net(101, ibn="a"), _IBN),
    "resnet101_ibn_b": Preset(_net(101, ibn="b"), _IBN),
    "resnext101_ibn_a": Preset(_net(101, _X4, ibn="a"), _IBN),
}
"""Known networks. C, D, S and T name the stem and the shortcut, ``aa`` and ``blur`` the downsampling."""
