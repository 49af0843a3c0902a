"""MobileNetV3: a space in the style of once-for-all, and the published networks."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.mobilenet_v3_table import LARGE, SMALL, deepened, fixed_row, minimal, mobilenet_v3_table
from search_spaces.spaces.rows import one
from search_spaces.staged import Stage, StagedSpace


def mobilenet_v3(
    name: str = "mobilenet_v3",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.35, 0.5, 0.75, 1.0, 1.2),
    resolution: tuple[int, ...] | None = None,
    kernel: tuple[int, ...] = (3, 5, 7),
    depth: tuple[int, ...] = (2, 3, 4),
    expand: tuple[float, ...] = (3.0, 4.0, 6.0),
    narrow: tuple[float, ...] = (2.3, 2.5),
    attention: tuple[str, ...] = (),
    stem: int = 16,
    last: int = 160,
) -> StagedSpace:
    """Five stages of inverted residuals with depth, kernel and expansion to choose, as in once-for-all.

    ``early_strides=False`` keeps the size in the stem and the first two strided stages and lets the last layer
    scale along, for inputs of 8 to 32 pixels; ``resolution`` is then the task's own unless given. ``narrow`` adds
    expansions to the stage of 80 channels, where the published network has them; ``attention`` lets every layer
    choose (default: squeeze-and-excitation where it is published). Source: Cai et al. 2020, section 3.2.
    """
    early = 2 if early_strides else 1
    if resolution is None:
        resolution = (128, 144, 160, 176, 192, 208, 224) if early_strides else ()
    first, *others = LARGE
    stages = [fixed_row("stage1", first)]
    for number, published in enumerate(others, 2):
        stages.append(
            Stage(
                f"stage{number}",
                "inverted_residual",
                last if number == 6 else published.channels,
                early if number < 4 else published.stride,
                depth,
                {
                    "kernel": kernel,
                    "expand": (*narrow, *expand) if published.channels == 80 else expand,
                    "attention": attention or (published.attention,),
                    "activation": (published.activation,),
                },
            )
        )
    return StagedSpace(
        name,
        [
            one("stem", "conv_bn_act", stem, early, least=16, kernel=3, activation="hard_swish"),
            *stages,
            one("head", "conv_bn_act", 960, kernel=1, activation="hard_swish"),
            one("features", "pooled_conv_act", 1280, scaled=not early_strides, activation="hard_swish"),
        ],
        width=width,
        resolution=resolution,
    )


def _large_point(width: float) -> dict[str, Option]:
    choices: dict[str, Option] = {"width": width, "resolution": 224}
    for stage, published in enumerate(LARGE[1:], 2):
        choices[f"stage{stage}.depth"] = len(published.expand)
        for layer, expand in enumerate(published.expand, 1):
            prefix = f"stage{stage}.layer{layer}"
            choices |= {f"{prefix}.kernel": published.kernel, f"{prefix}.expand": expand}  # type: ignore[dict-item]
    return choices


_V3 = "Howard et al. 2019, arXiv:1905.02244"
_table = mobilenet_v3_table
_exact = tuple(
    r._replace(attention=r.attention.replace("se", "se_exact" if r.activation == "relu" else "se_exact_hard_swish"))
    for r in LARGE
)
_small = partial(_table, "mobilenet_v3_small", SMALL, 576, 1024, width=(0.5, 0.75, 1.0))
_deep = partial(_table, "mobilenet_v3_deep", deepened(LARGE, 1.2), 960, 1280, width=(1.5,), head_depth=2)
_rw = partial(_table, "mobilenet_v3_rw", _exact, 960, 1280, bias=False, residual=False, eps=1e-3)
# the authors' own weights: padding and epsilon of TensorFlow
_tf = partial(_table, width=(0.75, 1.0), eps=1e-3, padding="same")
_tf_large = partial(_tf, "mobilenet_v3_large_tf", LARGE, 960, 1280)
_tf_small = partial(_tf, "mobilenet_v3_small_tf", SMALL, 576, 1024)
_tf_large_minimal = partial(_tf, "mobilenet_v3_large_minimal", minimal(LARGE), 960, 1280, activation="relu")
_tf_small_minimal = partial(_tf, "mobilenet_v3_small_minimal", minimal(SMALL), 576, 1024, activation="relu")

MOBILENET_V3_PRESETS: Mapping[str, Preset] = {
    "mobilenetv3_large_075": Preset(mobilenet_v3, _V3, _large_point(0.75)),
    "mobilenetv3_large_100": Preset(mobilenet_v3, _V3, _large_point(1.0)),
    "mobilenetv3_large_150d": Preset(_deep, _V3, input_size=256),
    "mobilenetv3_small_050": Preset(_small, _V3, {"width": 0.5}),
    "mobilenetv3_small_075": Preset(_small, _V3, {"width": 0.75}),
    "mobilenetv3_small_100": Preset(_small, _V3, {"width": 1.0}),
    "mobilenetv3_rw": Preset(_rw, _V3),
    "tf_mobilenetv3_large_075": Preset(_tf_large, _V3, {"width": 0.75}),
    "tf_mobilenetv3_large_100": Preset(_tf_large, _V3, {"width": 1.0}),
    "tf_mobilenetv3_large_minimal_100": Preset(_tf_large_minimal, _V3, {"width": 1.0}),
    "tf_mobilenetv3_small_075": Preset(_tf_small, _V3, {"width": 0.75}),
    "tf_mobilenetv3_small_100": Preset(_tf_small, _V3, {"width": 1.0}),
    "tf_mobilenetv3_small_minimal_100": Preset(_tf_small_minimal, _V3, {"width": 1.0}),
}
