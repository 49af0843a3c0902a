"""MobileViT and MobileViTv2: inverted residuals, and transformer blocks in the last three stages."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def mobilevit(
    name: str = "mobilevit",
    *,
    widths: tuple[int, ...] = (32, 64, 96, 128, 160),
    inner: tuple[int, ...] = (144, 192, 240),
    layers: tuple[int, ...] = (2, 4, 3),
    expand: float = 4,
    head: int = 640,
) -> StagedSpace:
    """MobileViT (Mehta and Rastegari 2022, table 4): ``inner`` widths and ``layers`` of its three transformers."""
    residual = _residual(expand)
    conv: Options = {"activation": ("silu",)}
    stages = [
        Stage("stem", "conv_bn_act", 16, 2, options={"kernel": (3,), **conv}, single=True),
        Stage("stage1", "inverted_residual", widths[0], options=residual),
        Stage("stage2", "inverted_residual", widths[1], 2, (3,), residual),
    ]
    for i, (width, dim, depth) in enumerate(zip(widths[2:], inner, layers, strict=True), 3):
        options: Options = {"inner": (dim,), "layers": (depth,)}
        stages.append(Stage(f"stage{i}", "inverted_residual", width, 2, options=residual))
        stages.append(Stage(f"transformer{i}", "mobilevit", width, options=options, single=True))
    stages.append(Stage("head", "conv_bn_act", head, options={"kernel": (1,), **conv}, single=True))
    return StagedSpace(name, stages)


def mobilevit_v2() -> StagedSpace:
    """MobileViTv2 (Mehta and Rastegari 2022, arXiv:2206.02680) with the choice of its width multipliers."""
    residual = _residual(2)
    stem: Options = {"kernel": (3,), "activation": ("silu",)}
    stages = [
        Stage("stem", "conv_bn_act", 32, 2, options=stem, single=True),
        Stage("stage1", "inverted_residual", 64, options=residual),
        Stage("stage2", "inverted_residual", 128, 2, (2,), residual),
    ]
    for i, (width, depth) in enumerate(((256, 2), (384, 4), (512, 3)), 3):
        stages.append(Stage(f"stage{i}", "inverted_residual", width, 2, options=residual))
        stages.append(Stage(f"transformer{i}", "mobilevit_v2", width, options={"layers": (depth,)}, single=True))
    return StagedSpace("mobilevit_v2", stages, width=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0))


def _residual(expand: float) -> Options:
    return {"kernel": (3,), "expand": (expand,), "attention": ("none",), "activation": ("silu",)}


_V1 = "Mehta and Rastegari 2022, arXiv:2110.02178"
_V2 = "Mehta and Rastegari 2022, arXiv:2206.02680"

_XXS = partial(mobilevit, widths=(16, 24, 48, 64, 80), inner=(64, 80, 96), expand=2, head=320)
_XS = partial(mobilevit, widths=(32, 48, 64, 80, 96), inner=(96, 120, 144), head=384)

MOBILEVIT_PRESETS: Mapping[str, Preset] = {
    "mobilevit_xxs": Preset(_XXS, _V1, input_size=256),
    "mobilevit_xs": Preset(_XS, _V1, input_size=256),
    "mobilevit_s": Preset(mobilevit, _V1, input_size=256),
    **{
        f"mobilevitv2_{round(100 * width):03d}": Preset(mobilevit_v2, _V2, {"width": width}, 256)
        for width in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    },
}
