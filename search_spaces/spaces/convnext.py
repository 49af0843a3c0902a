"""Spaces around ConvNeXt V1 and V2."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.staged import Candidate, Options, Stage, StagedSpace

_BLOCKS = {"v1": Candidate("convnext_block"), "v2": Candidate("convnext_v2_block")}


def convnext(
    name: str = "convnext",
    *,
    blocks: tuple[str, ...] = ("v1", "v2"),
    widths: tuple[int, ...] = (40, 80, 160, 320),
    depths: tuple[tuple[int, ...], ...] = ((1, 2, 3), (1, 2, 3), (2, 4, 6, 8), (1, 2, 3)),
    kernel: tuple[int, ...] = (3, 5, 7),
    mlp_ratio: tuple[float, ...] = (2.0, 3.0, 4.0),
    linear: bool = False,
    width: tuple[float, ...] = (0.5, 0.8, 1.0, 1.2, 1.6, 2.0),
    resolution: tuple[int, ...] | None = None,
    stem: str = "patch",
    stem_stride: int = 4,
    norm_place: str = "after",
) -> StagedSpace:
    """ConvNeXt (Liu et al. 2022, figure 4) with a choice of block, depth, width, resolution, kernel and MLP ratio.

    ``stem_stride`` 1 or 2 is for inputs of 8 to 64 pixels, which keep their own size; with 4 the resolution is a
    choice unless given. ``stem``: "patch", or the convolutions "tiered" or "overlap". ``linear`` makes the
    perceptrons of linear layers; ``norm_place`` is that of the last norm, "before" or "after" the pooling.
    """
    if resolution is None:
        resolution = (96, 128, 160, 192, 224) if stem_stride == 4 else ()
    layer: Options = {"kernel": kernel, "mlp_ratio": mlp_ratio, "linear": (linear,)}
    candidates = {label: _BLOCKS[label] for label in blocks}
    if stem == "patch":
        patch = stem_stride if stem_stride > 1 else 3
        first = Stage("stem", "patch_embedding", widths[0], stem_stride, options={"kernel": (patch,)}, single=True)
    else:
        tiered: Options = {"tiered": (stem == "tiered",)}
        first = Stage("stem", "conv_stem", widths[0], stem_stride, options=tiered, single=True)
    stages = [
        Stage(f"stage{i}", candidates, channels, 1 if i == 1 else 2, depth, layer)
        for i, (channels, depth) in enumerate(zip(widths, depths, strict=True), 1)
    ]
    head = Stage("head", "pooled_head", widths[-1], options={"norm_place": (norm_place,)}, single=True)
    return StagedSpace(
        name,
        [first, *stages, head],
        width=width,
        resolution=resolution,
    )


_V1 = "Liu et al. 2022, arXiv:2201.03545"
_V2 = "Woo et al. 2023, arXiv:2301.00808"
_DEPTHS = {"s": (2, 2, 6, 2), "m": (2, 2, 8, 2), "t": (3, 3, 9, 3), "l": (3, 3, 27, 3)}


def _point(block: str, width: float, depths: tuple[int, ...] = _DEPTHS["s"]) -> dict[str, Option]:
    choices: dict[str, Option] = {"width": width, "resolution": 224}
    for stage, depth in enumerate(depths, 1):
        choices[f"stage{stage}.depth"] = depth
        for layer in range(1, depth + 1):
            prefix = f"stage{stage}.layer{layer}"
            choices |= {f"{prefix}.block": block, f"{prefix}.{block}.kernel": 7, f"{prefix}.{block}.mlp_ratio": 4.0}
    return choices


def _one(
    width: int,
    depths: tuple[int, ...],
    block: str = "v1",
    *,
    linear: bool = True,
    stem: str = "patch",
    norm_place: str = "after",
) -> Preset:
    """A network as a space of its own; ``width`` is that of the first stage."""
    space = partial(
        convnext,
        blocks=(block,),
        widths=(width, 2 * width, 4 * width, 8 * width),
        depths=tuple((depth,) for depth in depths),
        kernel=(7,),
        mlp_ratio=(4.0,),
        linear=linear,
        width=(1.0,),
        resolution=(),
        stem=stem,
        norm_place=norm_place,
    )
    return Preset(space, _V1 if block == "v1" else _V2)


CONVNEXT_PRESETS: Mapping[str, Preset] = {
    "convnext_atto": Preset(convnext, _V1, _point("v1", 1.0)),
    "convnext_femto": Preset(convnext, _V1, _point("v1", 1.2)),
    "convnext_pico": Preset(convnext, _V1, _point("v1", 1.6)),
    "convnext_nano": Preset(convnext, _V1, _point("v1", 2.0, _DEPTHS["m"])),
    "convnext_atto_ols": _one(40, _DEPTHS["s"], linear=False, stem="tiered"),
    "convnext_femto_ols": _one(48, _DEPTHS["s"], linear=False, stem="tiered"),
    "convnext_pico_ols": _one(64, _DEPTHS["s"], linear=False, stem="tiered"),
    "convnext_nano_ols": _one(80, _DEPTHS["m"], linear=False, stem="overlap"),
    "convnext_tiny_hnf": _one(96, _DEPTHS["t"], linear=False, norm_place="before"),
    "convnext_tiny": _one(96, _DEPTHS["t"]),
    "convnext_small": _one(96, _DEPTHS["l"]),
    "convnext_base": _one(128, _DEPTHS["l"]),
    "convnextv2_atto": Preset(convnext, _V2, _point("v2", 1.0)),
    "convnextv2_femto": Preset(convnext, _V2, _point("v2", 1.2)),
    "convnextv2_pico": Preset(convnext, _V2, _point("v2", 1.6)),
    "convnextv2_nano": Preset(convnext, _V2, _point("v2", 2.0, _DEPTHS["m"])),
    "convnextv2_tiny": _one(96, _DEPTHS["t"], "v2"),
    "convnextv2_small": _one(96, _DEPTHS["l"], "v2"),
    "convnextv2_base": _one(128, _DEPTHS["l"], "v2"),
}
