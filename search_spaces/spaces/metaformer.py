"""Spaces around the MetaFormer: PoolFormer V1 and V2, ConvFormer, CAFormer, and mixers of every layer's own choice."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace

_MIXERS = ("identity", "pooling", "sep_conv", "attention")


def metaformer(
    name: str = "metaformer",
    *,
    mixers: tuple[tuple[str, ...], ...] = (_MIXERS,) * 4,
    widths: tuple[int, ...] = (64, 128, 320, 512),
    depths: tuple[tuple[int, ...], ...] = ((1, 2, 3), (1, 2, 3), (2, 4, 6, 9), (1, 2, 3)),
    mlp_ratio: tuple[float, ...] = (2.0, 3.0, 4.0),
    head_ratio: tuple[float, ...] = (0.0, 4.0),
    width: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0),
    stem_stride: int = 4,
) -> StagedSpace:
    """MetaFormer baselines (Yu et al. 2022, section 2) with a choice of mixer, depth, width and MLP ratio.

    ``mixers`` lists those of each stage ("random" too is possible: its matrix has the square of the number of
    positions); ``head_ratio`` the widths of the hidden layer before the classifier, 0 for none. ``stem_stride``
    1 or 2 is for inputs of 8 to 64 pixels.
    """
    stem: Options = {"kernel": (7 if stem_stride == 4 else 3,), "norm": ("layer_no_bias",)}
    stages = [Stage("stem", "patch_embedding", widths[0], stem_stride, options=stem, single=True)]
    for i, (mixer, channels, depth) in enumerate(zip(mixers, widths, depths, strict=True), 1):
        layer: Options = {"mixer": mixer, "mlp_ratio": mlp_ratio, "residual_scale": (i > 2,)}
        stages.append(Stage(f"stage{i}", "metaformer_block", channels, 1 if i == 1 else 2, depth, layer))
    head: Options = {"mlp_ratio": head_ratio, "activation": ("squared_relu",), "inner_norm": (True,)}
    stages.append(Stage("head", "pooled_head", widths[-1], options=head, single=True))
    return StagedSpace(
        name,
        stages,
        width=width,
    )


def poolformer(
    name: str = "poolformer",
    *,
    widths: tuple[int, ...] = (64, 128, 320, 512),
    depths: tuple[int, ...] = (2, 2, 6, 2),
    layer_scale: float = 1e-5,
    stem_stride: int = 4,
) -> StagedSpace:
    """PoolFormer (Yu et al. 2022, arXiv:2111.11418, section 3.2): GELU, biases, layer scale, no norm at the strides."""
    stem: Options = {"kernel": (7 if stem_stride == 4 else 3,), "norm": ("none",)}
    layer: Options = {
        "mixer": ("pooling",),
        "activation": ("gelu",),
        "bias": (True,),
        "layer_scale": (layer_scale,),
        "downsample_norm": ("none",),
        "eps": (1e-5,),
    }
    stages = [Stage("stem", "patch_embedding", widths[0], stem_stride, options=stem, single=True)]
    for i, (channels, depth) in enumerate(zip(widths, depths, strict=True), 1):
        stages.append(Stage(f"stage{i}", "metaformer_block", channels, 1 if i == 1 else 2, (depth,), layer))
    stages.append(Stage("head", "pooled_head", widths[-1], single=True))
    return StagedSpace(name, stages)


_BASELINES = "Yu et al. 2022, arXiv:2210.13452"
_POOLFORMER = "Yu et al. 2022, arXiv:2111.11418"

_CONV = ("sep_conv",) * 4
_CONV_ATTENTION = ("sep_conv", "sep_conv", "attention", "attention")
_POOL = ("pooling",) * 4
_S, _M, _B, _WIDE = (64, 128, 320, 512), (96, 192, 384, 576), (128, 256, 512, 768), (96, 192, 384, 768)
_D12, _D18, _D24, _D36 = (2, 2, 6, 2), (3, 3, 9, 3), (4, 4, 12, 4), (3, 12, 18, 3)
_POOL36, _POOL48 = (6, 6, 18, 6), (8, 8, 24, 8)


def _point(mixers: tuple[str, ...], depths: tuple[int, ...], head_ratio: float) -> Preset:
    choices: dict[str, Option] = {"width": 1.0, "head.mlp_ratio": head_ratio}
    for stage, (mixer, depth) in enumerate(zip(mixers, depths, strict=True), 1):
        choices[f"stage{stage}.depth"] = depth
        for layer in range(1, depth + 1):
            prefix = f"stage{stage}.layer{layer}"
            choices |= {f"{prefix}.mixer": mixer, f"{prefix}.mlp_ratio": 4.0}
    return Preset(metaformer, _BASELINES, choices)


def _one(mixers: tuple[str, ...], widths: tuple[int, ...], depths: tuple[int, ...], head_ratio: float = 4.0) -> Preset:
    """A network as a space of its own."""
    space = partial(
        metaformer,
        mixers=tuple((mixer,) for mixer in mixers),
        widths=widths,
        depths=tuple((depth,) for depth in depths),
        mlp_ratio=(4.0,),
        head_ratio=(head_ratio,),
        width=(1.0,),
    )
    return Preset(space, _BASELINES)


def _pool(widths: tuple[int, ...], depths: tuple[int, ...], layer_scale: float = 1e-6) -> Preset:
    return Preset(partial(poolformer, widths=widths, depths=depths, layer_scale=layer_scale), _POOLFORMER)


METAFORMER_PRESETS: Mapping[str, Preset] = {
    "convformer_s18": _point(_CONV, _D18, 4.0),
    "convformer_s36": _one(_CONV, _S, _D36),
    "convformer_m36": _one(_CONV, _M, _D36),
    "convformer_b36": _one(_CONV, _B, _D36),
    "caformer_s18": _point(_CONV_ATTENTION, _D18, 4.0),
    "caformer_s36": _one(_CONV_ATTENTION, _S, _D36),
    "caformer_m36": _one(_CONV_ATTENTION, _M, _D36),
    "caformer_b36": _one(_CONV_ATTENTION, _B, _D36),
    "poolformerv2_s12": _point(_POOL, _D12, 0.0),
    "poolformerv2_s24": _one(_POOL, _S, _D24, 0.0),
    "poolformerv2_s36": _one(_POOL, _S, _POOL36, 0.0),
    "poolformerv2_m36": _one(_POOL, _WIDE, _POOL36, 0.0),
    "poolformerv2_m48": _one(_POOL, _WIDE, _POOL48, 0.0),
    "poolformer_s12": Preset(poolformer, _POOLFORMER),
    "poolformer_s24": _pool(_S, _D24, 1e-5),
    "poolformer_s36": _pool(_S, _POOL36),
    "poolformer_m36": _pool(_WIDE, _POOL36),
    "poolformer_m48": _pool(_WIDE, _POOL48),
}
