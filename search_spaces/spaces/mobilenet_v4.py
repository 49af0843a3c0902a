"""MobileNetV4: universal inverted bottlenecks, and attention in its hybrid models."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one
from search_spaces.staged import Candidate, Options, Stage, StagedSpace, listed


class _Uib(NamedTuple):
    """Kernels of the two depthwise convolutions (0: none) and the expansion."""

    start_kernel: int
    kernel: int
    expand: float = 4.0


class _Mqa(NamedTuple):
    heads: int
    key_channels: int
    kv_stride: int = 1


class _Stage(NamedTuple):
    out_channels: int
    layers: tuple[_Uib | _Mqa, ...]


class _Network(NamedTuple):
    """``early``: (name, channels, kernel) of the convolutions before the stages; none: one fused bottleneck."""

    stem: int
    stages: tuple[_Stage, ...]
    early: tuple[tuple[str, int, int], ...] = ()
    activation: str = "relu"
    layer_scale: float = 0.0


_E33, _E35, _E53, _E55 = _Uib(3, 3), _Uib(3, 5), _Uib(5, 3), _Uib(5, 5)
_CONVNEXT, _CONVNEXT5 = _Uib(3, 0), _Uib(5, 0)
_FFN, _FFN2 = _Uib(0, 0), _Uib(0, 0, 2.0)
_WIDE35, _WIDE55 = _Uib(3, 5, 6.0), _Uib(5, 5, 6.0)

_MEDIUM_START = _Stage(80, (_E35, _Uib(3, 3, 2.0)))
_LARGE_START = _Stage(96, (_E35, _E33))
_LARGE_192 = (_E35, *[_E33] * 3, _E35, *[_E53] * 2)
_LARGE_512 = (*[_E55] * 4, _CONVNEXT5, _E53, *[_CONVNEXT5] * 2, _E53, _E55)

_NETWORKS: Mapping[str, _Network] = {
    "conv_small": _Network(
        32,
        (
            _Stage(96, (_Uib(5, 5, 3.0), *[_Uib(0, 3, 2.0)] * 4, _CONVNEXT)),
            _Stage(128, (_Uib(3, 3, 6.0), _E55, _Uib(0, 5), _Uib(0, 5, 3.0), *[_Uib(0, 3)] * 2)),
        ),
        early=(
            *(("stage1.spatial", 32, 3), ("stage1.point", 32, 1)),
            *(("stage2.spatial", 96, 3), ("stage2.point", 64, 1)),
        ),
    ),
    "conv_medium": _Network(
        32,
        (
            _MEDIUM_START,
            _Stage(160, (_WIDE35, _E33, _E33, _E35, _E33, _CONVNEXT, _FFN2, _CONVNEXT)),
            _Stage(
                256,
                (_WIDE55, _E55, _E35, _E35, _FFN, _CONVNEXT, _Uib(3, 5, 2.0), _E55, _FFN, _FFN, _Uib(5, 0, 2.0)),
            ),
        ),
    ),
    "conv_large": _Network(
        24,
        (
            _LARGE_START,
            _Stage(192, (*_LARGE_192, *[_E53] * 3, _CONVNEXT)),
            _Stage(512, (*_LARGE_512, *[_CONVNEXT5] * 3)),
        ),
    ),
    "hybrid_medium": _Network(
        32,
        (
            _MEDIUM_START,
            _Stage(160, (_WIDE35, _FFN2, _E33, _E35, *(_Mqa(4, 64, 2), _E33, _Mqa(4, 64, 2), _CONVNEXT) * 2)),
            _Stage(
                256,
                (
                    *(_WIDE55, _E55, _E35, _E35, _FFN2, _Uib(3, 5, 2.0), _FFN2, _FFN),
                    *(_Mqa(4, 64), _CONVNEXT, _Mqa(4, 64), _E55),
                    *(_Mqa(4, 64), _CONVNEXT5) * 2,
                ),
            ),
        ),
        layer_scale=1e-5,
    ),
    "hybrid_large": _Network(
        24,
        (
            _LARGE_START,
            _Stage(192, (*_LARGE_192, *(_Mqa(8, 48, 2), _E53) * 3, _Mqa(8, 48, 2), _CONVNEXT)),
            _Stage(512, (*_LARGE_512, *(_Mqa(8, 64), _CONVNEXT5) * 4)),
        ),
        activation="gelu",
        layer_scale=1e-5,
    ),
}


def mobilenet_v4(
    variant: str = "conv_small", width: float = 1.0, downsample: str = "strided", stem_stride: int = 2
) -> StagedSpace:
    """A network of Qin et al. 2024 at a multiplier of its widths; the stem is not narrower than published.

    In a stage with attention each layer chooses between that ("attention") and a bottleneck ("bottleneck").
    ``downsample`` (of ``DOWNSAMPLES``) takes the strides of the bottlenecks.
    """
    network = _NETWORKS[variant]
    activation = network.activation
    early = [
        one(name, "conv_bn_act", channels, 1 if kernel == 1 else 2, kernel=kernel, activation=activation)
        for name, channels, kernel in network.early
    ] or [
        one(
            *("stage1", "fused_inverted_residual", 48, 2),
            kernel=3,
            expand=4.0,
            activation=activation,
            downsample=downsample,
        ),
    ]
    options: Options = {
        "activation": (activation,),
        "layer_scale": (network.layer_scale,),
        "downsample": (downsample,),
    }
    first = 5 - len(network.stages)
    return StagedSpace(
        "mobilenet_v4",
        [
            one("stem", "conv_bn_act", network.stem, stem_stride, scaled=width > 1, kernel=3, activation=activation),
            *early,
            *(_stage(f"stage{i}", stage, options) for i, stage in enumerate(network.stages, first)),
            one("head", "conv_bn_act", 960, kernel=1, activation=activation),
            one("features", "pooled_conv_bn_act", 1280, scaled=False, activation=activation),
        ],
        width=(width,),
    )


def _stage(name: str, stage: _Stage, options: Options) -> Stage:
    attention = {layer for layer in stage.layers if isinstance(layer, _Mqa)}
    # what a layer would be that is attention in the published network
    bottlenecks = [_CONVNEXT if isinstance(layer, _Mqa) else layer for layer in stage.layers]
    rules = {
        field: listed(*(getattr(layer, field) for layer in bottlenecks))
        for field in ("start_kernel", "kernel", "expand")
    }
    block: str | dict[str, Candidate] = "universal_inverted_bottleneck"
    if attention:
        (only,) = attention
        mqa: Options = {field: (value,) for field, value in only._asdict().items()}
        block = {
            "bottleneck": Candidate("universal_inverted_bottleneck", options),
            "attention": Candidate("mobile_attention", {**mqa, "layer_scale": options["layer_scale"]}),
        }
        options = {}
    return Stage(name, block, stage.out_channels, 2, (len(stage.layers),), options, rules=rules)


def _hybrid(variant: str) -> dict[str, Option]:
    """Which layers of a published hybrid network are attention."""
    return {
        f"stage{number}.layer{i}.block": "attention" if isinstance(layer, _Mqa) else "bottleneck"
        for number, stage in enumerate(_NETWORKS[variant].stages, 2)
        if any(isinstance(layer, _Mqa) for layer in stage.layers)
        for i, layer in enumerate(stage.layers, 1)
    }


_PAPER = "Qin et al. 2024, arXiv:2404.10518"


def _preset(variant: str, size: int, width: float = 1.0, downsample: str = "strided") -> Preset:
    return Preset(partial(mobilenet_v4, variant, width, downsample), _PAPER, _hybrid(variant), size)


MOBILENET_V4_PRESETS: Mapping[str, Preset] = {
    "mobilenetv4_conv_small_035": _preset("conv_small", 224, 0.35),
    "mobilenetv4_conv_small_050": _preset("conv_small", 224, 0.5),
    "mobilenetv4_conv_small": _preset("conv_small", 224),
    "mobilenetv4_conv_medium": _preset("conv_medium", 256),
    "mobilenetv4_conv_large": _preset("conv_large", 384),
    "mobilenetv4_conv_aa_medium": _preset("conv_medium", 256, downsample="pooled"),
    "mobilenetv4_conv_aa_large": _preset("conv_large", 448, downsample="pooled"),
    "mobilenetv4_conv_blur_medium": _preset("conv_medium", 224, downsample="blurred_zeros"),
    "mobilenetv4_hybrid_medium_075": _preset("hybrid_medium", 224, 0.75),
    "mobilenetv4_hybrid_medium": _preset("hybrid_medium", 256),
    "mobilenetv4_hybrid_large_075": _preset("hybrid_large", 256, 0.75),
    "mobilenetv4_hybrid_large": _preset("hybrid_large", 384),
}
