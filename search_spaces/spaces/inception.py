"""Inception-v3, and a space around Inception-v4 and Inception-ResNet-v2."""

from collections.abc import Mapping

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.staged import Candidate, Options, Stage, StagedSpace, listed


def inception(
    name: str = "inception",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0),
    resolution: tuple[int, ...] = (128, 160, 192, 224, 256, 299),
) -> StagedSpace:
    """Inception-v4 and Inception-ResNet-v2 (Szegedy et al. 2017, figures 9 and 15) and what lies between them.

    Three stages of cells with a reduction between them. Every layer is a cell of Inception-v3 or v4 or a residual
    block of Inception-ResNet; stem, reductions, depths and widths are choices.
    ``early_strides=False`` halves the size once in place of three times in the stem, pads every convolution, and
    leaves the resolution to the task, for inputs of 16 to 64 pixels.
    """
    padding = "valid" if early_strides else "symmetric"
    edge: Options = {"padding": (padding,)}
    stems = {
        "v4": Candidate("inception_v4_stem", edge),
        "resnet": Candidate("inception_resnet_stem", edge),
    }

    def cells(letter: str, expand: float, scale: float) -> dict[str, Candidate]:
        residual: Options = {"cell": (f"resnet_{letter}",), "expand": (expand,), "scale": (scale,)}
        return {
            "v3": Candidate("inception", {"cell": (f"v3_{letter}",)}),
            "v4": Candidate("inception", {"cell": (f"v4_{letter}",)}),
            "residual": Candidate("inception_residual", residual),
        }

    def reduction(letter: str) -> dict[str, Candidate]:
        return {
            version: Candidate("inception", {"cell": (f"{version}_reduction_{letter}",), **edge})
            for version in ("v3", "v4", "resnet")
        }

    stages = [
        Stage("stem", stems, (320, 384), 8 if early_strides else 2, single=True),
        Stage("stage1", cells("a", 128 / 320, 0.17), (320, 384), 1, (2, 4, 6, 10)),
        Stage("reduction1", reduction("a"), (1024, 1088), 2, single=True),
        Stage("stage2", cells("b", 384 / 1088, 0.1), (1024, 1088), 1, (3, 7, 12, 20)),
        Stage("reduction2", reduction("b"), (1536, 2080), 2, single=True),
        # the last residual block is neither scaled nor activated
        Stage(
            *("stage3", cells("c", 448 / 2080, 0.2), (1536, 2080), 1, (2, 3, 5, 10)),
            rules={"scale": lambda index, depth: 0.2 if index < depth - 1 else 1.0, "ended": _is_not_last},
        ),
        # a pointwise convolution, where the features have another width
        Stage("head", "identity_or_conv", 1536, options={"eps": (1e-3,)}, single=True),
    ]
    return StagedSpace(
        name,
        stages,
        width=width,
        resolution=resolution if early_strides else (),
    )


def _is_not_last(index: int, depth: int) -> bool:
    return index < depth - 1


def inception_v3(name: str = "inception_v3") -> StagedSpace:
    """Inception-v3 (Szegedy et al. 2016, table 1), every cell with its own widths."""

    def cells(stage: str, out_channels: tuple[int, ...], names: tuple[str, ...], stride: int = 1) -> Stage:
        padding = "valid" if stride > 1 else "symmetric"
        return Stage(
            *(stage, "inception", out_channels[-1], stride, (len(names),), {"padding": (padding,)}),
            rules={"cell": listed(*names), "out_channels": listed(*out_channels)},
        )

    stages = [
        Stage("stem", "inception_v3_stem", 192, 8, single=True),
        cells("stage1", (256, 288, 288), ("v3_a32", "v3_a", "v3_a")),
        cells("reduction1", (768,), ("v3_reduction_a",), 2),
        cells("stage2", (768,) * 4, ("v3_b128", "v3_b160", "v3_b160", "v3_b")),
        cells("reduction2", (1280,), ("v3_reduction_b",), 2),
        cells("stage3", (2048, 2048), ("v3_c", "v3_c")),
    ]
    return StagedSpace(name, stages)


def _point(stem: str, cell: str, widths: tuple[int, int, int], depths: tuple[int, int, int]) -> dict[str, Option]:
    choices: dict[str, Option] = {"width": 1.0, "resolution": 299, "stem.block": stem, "stem.out_channels": widths[0]}
    for i, (out_channels, depth) in enumerate(zip(widths, depths, strict=True), 1):
        if i > 1:
            choices |= {f"reduction{i - 1}.block": stem, f"reduction{i - 1}.out_channels": out_channels}
        choices |= {f"stage{i}.out_channels": out_channels, f"stage{i}.depth": depth}
        choices |= {f"stage{i}.layer{layer}.block": cell for layer in range(1, depth + 1)}
    return choices


_V3 = "Szegedy et al. 2016, arXiv:1512.00567"
_V4 = "Szegedy et al. 2017, arXiv:1602.07261"

INCEPTION_PRESETS: Mapping[str, Preset] = {
    "inception_v3": Preset(inception_v3, _V3, input_size=299),
    "inception_v4": Preset(inception, _V4, _point("v4", "v4", (384, 1024, 1536), (4, 7, 3)), 299),
    "inception_resnet_v2": Preset(inception, _V4, _point("resnet", "residual", (320, 1088, 2080), (10, 20, 10)), 299),
}
