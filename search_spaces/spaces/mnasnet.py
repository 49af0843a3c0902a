"""MnasNet and Single-Path NAS: inverted residuals whose stages choose kernel, expansion, attention and size."""

from collections.abc import Mapping, Sequence
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one
from search_spaces.staged import Options, Stage, StagedSpace

_STRIDES = (2, 2, 2, 1, 2, 1)
_A1_CHANNELS = (24, 40, 80, 112, 160, 320)
_A1_DEPTHS = (2, 3, 4, 2, 3, 1)


def mnasnet(
    name: str = "mnasnet",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.35, 0.5, 0.75, 1.0, 1.4),
    kernel: tuple[int, ...] = (3, 5),
    expand: tuple[int, ...] = (3, 6),
    attention: tuple[str, ...] = ("none", "se_relu"),
    filters: tuple[float, ...] = (0.75, 1.0, 1.25),
    channels: Sequence[int] = _A1_CHANNELS,
    depths: Sequence[int] = _A1_DEPTHS,
    stem: int = 32,
    first: int = 16,
    tied: bool = True,
) -> StagedSpace:
    """Six stages around ``channels`` and ``depths`` (MnasNet-A1); the layers of a stage are alike if ``tied``.

    A stage has one layer less, as many, or one more than ``depths`` says, and its channels times one of
    ``filters``, to the nearest 8. ``early_strides=False`` keeps the size in the stem and the first two stages and
    lets the head scale along, for inputs of 8 to 32 pixels. Source: Tan et al. 2019, section 4.1.
    """
    early = 2 if early_strides else 1
    layer: Options = {"kernel": kernel, "expand": expand, "attention": attention, "activation": ("relu",)}
    stages = []
    for i, (around, depth, stride) in enumerate(zip(channels, depths, _STRIDES, strict=True)):
        options = tuple(dict.fromkeys(max(8, 8 * round(around * f / 8)) for f in filters))
        stages.append(
            Stage(
                f"stage{i + 2}",
                "inverted_residual",
                options if len(options) > 1 else options[0],
                early if i < 2 else stride,
                tuple(d for d in (depth - 1, depth, depth + 1) if d > 0),
                layer,
                tied=tied,
            )
        )
    return StagedSpace(
        name,
        [
            one("stem", "conv_bn_act", stem, early, kernel=3, activation="relu"),
            one("stage1", "inverted_residual", first, kernel=3, expand=1, attention="none", activation="relu"),
            *stages,
            one("head", "conv_bn_act", 1280, scaled=not early_strides, kernel=1, activation="relu"),
        ],
        width=width,
    )


def _point(
    width: float, depths: Sequence[int], kernels: Sequence[int], expands: Sequence[int], attentions: Sequence[int]
) -> dict[str, Option]:
    """The choices of a network with one kernel, expansion and attention (0 or 1) a stage."""
    choices: dict[str, Option] = {"width": width}
    rows = zip(depths, kernels, expands, attentions, strict=True)
    for stage, (depth, kernel, expand, attention) in enumerate(rows, 2):
        choices |= {
            f"stage{stage}.depth": depth,
            f"stage{stage}.kernel": kernel,
            f"stage{stage}.expand": expand,
            f"stage{stage}.attention": "se_relu" if attention else "none",
        }
    return choices


def _a1(width: float) -> dict[str, Option]:
    point = _point(width, _A1_DEPTHS, (3, 5, 3, 3, 5, 3), (6, 3, 6, 6, 6, 6), (0, 1, 0, 1, 1, 0))
    return point | {f"stage{stage}.out_channels": channels for stage, channels in enumerate(_A1_CHANNELS, 2)}


def _b1(width: float) -> dict[str, Option]:
    return _point(width, (3, 3, 3, 2, 4, 1), (3, 5, 5, 3, 5, 3), (3, 3, 6, 6, 6, 6), (0,) * 6)


def _single_path() -> dict[str, Option]:
    """The kernels and expansions that the search found, layer by layer."""
    layers = {
        2: [(3, 3)] * 3,
        3: [(5, 6), *[(3, 3)] * 3],
        4: [(5, 6), *[(3, 3)] * 3],
        5: [(5, 6), *[(5, 3)] * 3],
        6: [(5, 6)] * 4,
        7: [(3, 6)],
    }
    choices: dict[str, Option] = {}
    for stage, pairs in layers.items():
        choices[f"stage{stage}.depth"] = len(pairs)
        for number, (kernel, expand) in enumerate(pairs, 1):
            prefix = f"stage{stage}.layer{number}"
            choices |= {f"{prefix}.kernel": kernel, f"{prefix}.expand": expand}
    return choices


_PAPER = "Tan et al. 2019, arXiv:1807.11626"
_B1_CHANNELS = (24, 40, 80, 96, 192, 320)
_mnasnet_b1 = partial(mnasnet, "mnasnet_b1", filters=(1.0,), channels=_B1_CHANNELS, depths=(3, 3, 3, 2, 4, 1))
_mnasnet_small = partial(
    mnasnet,
    "mnasnet_small",
    filters=(1.0,),
    channels=(16, 16, 32, 32, 88, 144),
    depths=(1, 2, 4, 3, 3, 1),
    stem=8,
    first=8,
)
_single_path_nas = partial(
    mnasnet,
    "single_path_nas",
    width=(1.0,),
    attention=("none",),
    filters=(1.0,),
    channels=_B1_CHANNELS,
    depths=(3, 4, 4, 4, 4, 1),
    tied=False,
)

MNASNET_PRESETS: Mapping[str, Preset] = {
    "mnasnet_050": Preset(_mnasnet_b1, _PAPER, _b1(0.5)),
    "mnasnet_075": Preset(_mnasnet_b1, _PAPER, _b1(0.75)),
    "mnasnet_100": Preset(_mnasnet_b1, _PAPER, _b1(1.0)),
    "mnasnet_140": Preset(_mnasnet_b1, _PAPER, _b1(1.4)),
    "mnasnet_a1": Preset(mnasnet, _PAPER, _a1(1.0)),
    "mnasnet_b1": Preset(_mnasnet_b1, _PAPER, _b1(1.0)),
    "mnasnet_small": Preset(
        _mnasnet_small,
        _PAPER,
        _point(1.0, (1, 2, 4, 3, 3, 1), (3, 3, 5, 3, 5, 3), (3, 6, 6, 6, 6, 6), (0, 0, 1, 1, 1, 0)),
    ),
    "semnasnet_050": Preset(mnasnet, _PAPER, _a1(0.5)),
    "semnasnet_075": Preset(mnasnet, _PAPER, _a1(0.75)),
    "semnasnet_100": Preset(mnasnet, _PAPER, _a1(1.0)),
    "semnasnet_140": Preset(mnasnet, _PAPER, _a1(1.4)),
    "spnasnet_100": Preset(_single_path_nas, "Stamoulis et al. 2019, arXiv:1904.02877", _single_path()),
}
