"""VoVNet: one-shot aggregation with a choice of depth, widths, convolutions, identity and attention."""

from collections.abc import Mapping

from search_spaces.architecture import Option
from search_spaces.channels import make_divisible
from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def vovnet(name: str = "vovnet", *, early_strides: bool = True, scale: float = 1.0) -> StagedSpace:
    """VoVNet (Lee et al. 2019, table 2) and VoVNetV2 (Lee and Park 2020), where every layer of a stage is alike.

    A stage chooses its depth (in blocks), the width of the blocks, the layers in each and their width, full or
    separable convolutions, whether the blocks have an identity, and the attention of its last block.
    ``early_strides=False`` keeps the size in the stem, for inputs of 8 to 64 pixels; ``scale`` multiplies all widths.
    """

    def widths(*published: int) -> tuple[int, ...]:
        return tuple(sorted({make_divisible(width * scale) for width in published}))

    layer: Options = {
        "layers": (3, 5),
        "convolution": ("separable", "full"),
        "identity": (False, True),
        "attention": ("none", "eca", "ese"),
    }
    rows = [
        (widths(112, 192, 256), widths(64, 96, 128), (1, 2)),
        (widths(256, 384, 512), widths(80, 120, 160), (1, 2, 3)),
        (widths(384, 576, 768), widths(96, 144, 192), (1, 2, 4, 6, 9)),
        (widths(512, 768, 1024), widths(112, 168, 224), (1, 2, 3)),
    ]
    stages = [
        Stage(
            *(f"stage{i}", "one_shot_aggregation", channels, 1 if i == 1 else 2, depth),
            {"inner": inner, **layer},
            tied=True,
            scaled=False,
            rules={"attended": _is_last},
        )
        for i, (channels, inner, depth) in enumerate(rows, 1)
    ]
    stem: Options = {"inner": widths(64), "convolution": ("separable", "full")}
    stride = 4 if early_strides else 1
    first = Stage("stem", "vovnet_stem", widths(64, 128), stride, options=stem, single=True, scaled=False)
    return StagedSpace(
        name,
        [first, *stages],
    )


def _is_last(index: int, depth: int) -> bool:
    return index == depth - 1


def _point(
    depths: tuple[int, ...],
    layers: int = 5,
    attention: str = "ese",
    *,
    slim: bool = False,
    separable: bool = False,
    identity: bool = True,
) -> dict[str, Option]:
    out_channels = (112, 256, 384, 512) if slim else (256, 512, 768, 1024)
    inner = (64, 80, 96, 112) if slim else (128, 160, 192, 224)
    convolution = "separable" if separable else "full"
    choices: dict[str, Option] = {"stem.out_channels": 64 if separable else 128, "stem.convolution": convolution}
    for i, depth in enumerate(depths):
        choices |= {
            f"stage{i + 1}.out_channels": out_channels[i],
            f"stage{i + 1}.depth": depth,
            f"stage{i + 1}.inner": inner[i],
            f"stage{i + 1}.layers": layers,
            f"stage{i + 1}.convolution": convolution,
            f"stage{i + 1}.identity": identity,
            f"stage{i + 1}.attention": attention,
        }
    return choices


_V1 = "Lee et al. 2019, arXiv:1904.09730"
_V2 = "Lee and Park 2020, arXiv:1911.06667"
_ECA = "Wang et al. 2020, arXiv:1910.03151"

VOVNET_PRESETS: Mapping[str, Preset] = {
    "vovnet39a": Preset(vovnet, _V1, _point((1, 1, 2, 2), attention="none", identity=False)),
    "vovnet57a": Preset(vovnet, _V1, _point((1, 1, 4, 3), attention="none", identity=False)),
    "ese_vovnet19b_slim_dw": Preset(vovnet, _V2, _point((1, 1, 1, 1), 3, slim=True, separable=True)),
    "ese_vovnet19b_dw": Preset(vovnet, _V2, _point((1, 1, 1, 1), 3, separable=True)),
    "ese_vovnet19b_slim": Preset(vovnet, _V2, _point((1, 1, 1, 1), 3, slim=True)),
    "ese_vovnet19b": Preset(vovnet, _V2, _point((1, 1, 1, 1), 3)),
    "ese_vovnet39b": Preset(vovnet, _V2, _point((1, 1, 2, 2))),
    "ese_vovnet57b": Preset(vovnet, _V2, _point((1, 1, 4, 3)), 256),
    "ese_vovnet99b": Preset(vovnet, _V2, _point((1, 3, 9, 3))),
    "eca_vovnet39b": Preset(vovnet, _ECA, _point((1, 1, 2, 2), attention="eca")),
}
