"""EfficientNet: stages of inverted residuals, fused or not, and the compound scaling of the published networks."""

from collections.abc import Callable, Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, scaled_depth
from search_spaces.staged import Candidate, Options, Stage, StagedSpace

# channels, layers, stride, kernel (Tan and Le 2019, table 1, from its third row on)
_TABLE = ((24, 2, 2, 3), (40, 2, 2, 5), (80, 3, 2, 3), (112, 3, 1, 5), (192, 4, 2, 5), (320, 1, 1, 3))


def efficientnet(
    name: str = "efficientnet",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.5, 0.75, 1.0, 1.1, 1.2, 1.4),
    resolution: tuple[int, ...] | None = None,
    kernel: tuple[int, ...] = (3, 5),
    expand: tuple[int, ...] = (1, 4, 6),
    depth_factor: float = 1.8,
    attention: str = "se_swish",
    activation: str = "silu",
    fixed_ends: bool = False,
    eps: float = 1e-5,
    padding: str = "symmetric",
) -> StagedSpace:
    """EfficientNet-B0 with a choice of width, resolution, and in each stage block, kernel, expansion and depth.

    A stage has half of to ``depth_factor`` times the layers of B0, all alike: MBConv with attention, or fused
    MBConv (Tan and Le 2021, section 3.3). ``early_strides=False`` keeps the size in the stem and the first two
    strided stages, for inputs of 8 to 32 pixels; ``resolution`` is then the task's own unless given.
    ``fixed_ends``: the width multiplier leaves out stem and head. Source: Tan and Le 2019, table 1.
    """
    early = 2 if early_strides else 1
    if resolution is None:
        resolution = (128, 160, 192, 224, 240, 260, 300, 380) if early_strides else ()
    shared: Options = {"activation": (activation,), "eps": (eps,), "padding": (padding,)}
    sizes: Options = {"kernel": kernel, "expand": expand}
    blocks = {
        "mbconv": Candidate("inverted_residual", {**sizes, "attention": (attention,)}),
        "fused": Candidate("fused_inverted_residual", {**sizes, "attention": ("none",)}),
    }
    end = partial(one, block="conv_bn_act", scaled=not fixed_ends, activation=activation, eps=eps, padding=padding)
    first: Options = {"kernel": (3,), "expand": (1,), "attention": (attention,), **shared}
    return StagedSpace(
        name,
        [
            end("stem", out_channels=32, stride=early, kernel=3),
            Stage("stage1", "inverted_residual", 16, 1, _depths(1, depth_factor), first, tied=True),
            *(
                Stage(
                    f"stage{i}",
                    blocks,
                    channels,
                    early if i < 4 else stride,
                    _depths(layers, depth_factor),
                    shared,
                    tied=True,
                )
                for i, (channels, layers, stride, _) in enumerate(_TABLE, 2)
            ),
            end("head", out_channels=1280, kernel=1),
        ],
        width=width,
        resolution=resolution,
    )


def _depths(layers: int, factor: float) -> tuple[int, ...]:
    return tuple(range(max(1, layers // 2), scaled_depth(layers, factor) + 1))


def _rounded(layers: int, factor: float) -> int:
    """Layers of a stage where a depth multiplier below 1 thins out (Han et al. 2020, TinyNet)."""
    return max(1, round(layers * factor))


def _fixed_ends(layers: int, factor: float) -> int:
    """Single layers stay single (EfficientNet-Lite)."""
    return 1 if layers == 1 else scaled_depth(layers, factor)


def _point(
    width: float, depth: float, resolution: int, rule: Callable[[int, float], int] = scaled_depth
) -> dict[str, Option]:
    """B0 at multipliers of width and depth: MBConv, expansion 6, the kernels of the table."""
    choices: dict[str, Option] = {"width": width, "resolution": resolution, "stage1.depth": rule(1, depth)}
    for stage, (_, layers, _, kernel) in enumerate(_TABLE, 2):
        choices |= {
            f"stage{stage}.depth": rule(layers, depth),
            f"stage{stage}.block": "mbconv",
            f"stage{stage}.mbconv.kernel": kernel,
            f"stage{stage}.mbconv.expand": 6,
        }
    return choices


def _preset(width: float, depth: float, resolution: int) -> Preset:
    """A network of the paper; the large ones are points of a wider and deeper space."""
    large = width > 1.4
    return Preset(_large if large else efficientnet, _PAPER, _point(width, depth, resolution), resolution)


def _tf(width: float, depth: float, resolution: int) -> Preset:
    """A network with the padding and the epsilon of the authors' code."""
    return Preset(_with_tf, _PAPER, _point(width, depth, resolution), resolution)


def _lite_preset(width: float, depth: float, resolution: int, tf: bool = False) -> Preset:
    return Preset(_tf_lite if tf else _lite, _PAPER, _point(width, depth, resolution, _fixed_ends), resolution)


def _tiny_preset(width: float, depth: float, resolution: int) -> Preset:
    return Preset(_tiny, "Han et al. 2020, arXiv:2010.14819", _point(width, depth, resolution, _rounded), resolution)


_PAPER = "Tan and Le 2019, arXiv:1905.11946"
_large = partial(
    efficientnet,
    "efficientnet_large",
    width=(1.6, 1.8, 2.0, 2.2),
    resolution=(456, 528, 600, 672),
    depth_factor=3.6,
)
_with_tf = partial(
    efficientnet,
    "efficientnet_tf",
    width=(1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2),
    resolution=(224, 240, 260, 300, 380, 456, 528, 600, 672),
    depth_factor=3.6,
    eps=1e-3,
    padding="same",
)
_lite = partial(
    efficientnet,
    name="efficientnet_lite",
    resolution=(224, 240, 260, 280, 300),
    attention="none",
    activation="relu6",
    fixed_ends=True,
)
_tf_lite = partial(_lite, name="efficientnet_lite_tf", eps=1e-3, padding="same")
_tiny = partial(
    efficientnet,
    "tinynet",
    width=(0.51, 0.54, 0.75, 1.0),
    resolution=(106, 152, 184, 188, 192),
    fixed_ends=True,
)

EFFICIENTNET_PRESETS: Mapping[str, Preset] = {
    "efficientnet_b0": _preset(1.0, 1.0, 224),
    "efficientnet_b1": _preset(1.0, 1.1, 240),
    "efficientnet_b2": _preset(1.1, 1.2, 260),
    "efficientnet_b3": _preset(1.2, 1.4, 300),
    "efficientnet_b4": _preset(1.4, 1.8, 380),
    "efficientnet_b5": _preset(1.6, 2.2, 456),
    "efficientnet_b6": _preset(1.8, 2.6, 528),
    "efficientnet_b7": _preset(2.0, 3.1, 600),
    "efficientnet_b8": _preset(2.2, 3.6, 672),
    "efficientnet_lite0": _lite_preset(1.0, 1.0, 224),
    "efficientnet_lite1": _lite_preset(1.0, 1.1, 240),
    "efficientnet_lite2": _lite_preset(1.1, 1.2, 260),
    "efficientnet_lite3": _lite_preset(1.2, 1.4, 280),
    "efficientnet_lite4": _lite_preset(1.4, 1.8, 300),
    "tinynet_a": _tiny_preset(1.0, 1.2, 192),
    "tinynet_b": _tiny_preset(0.75, 1.1, 188),
    "tinynet_c": _tiny_preset(0.54, 0.85, 184),
    "tinynet_d": _tiny_preset(0.54, 0.695, 152),
    "tinynet_e": _tiny_preset(0.51, 0.6, 106),
    "tf_efficientnet_b0": _tf(1.0, 1.0, 224),
    "tf_efficientnet_b1": _tf(1.0, 1.1, 240),
    "tf_efficientnet_b2": _tf(1.1, 1.2, 260),
    "tf_efficientnet_b3": _tf(1.2, 1.4, 300),
    "tf_efficientnet_b4": _tf(1.4, 1.8, 380),
    "tf_efficientnet_b5": _tf(1.6, 2.2, 456),
    "tf_efficientnet_b6": _tf(1.8, 2.6, 528),
    "tf_efficientnet_b7": _tf(2.0, 3.1, 600),
    "tf_efficientnet_b8": _tf(2.2, 3.6, 672),
    "tf_efficientnet_lite0": _lite_preset(1.0, 1.0, 224, tf=True),
    "tf_efficientnet_lite1": _lite_preset(1.0, 1.1, 240, tf=True),
    "tf_efficientnet_lite2": _lite_preset(1.1, 1.2, 260, tf=True),
    "tf_efficientnet_lite3": _lite_preset(1.2, 1.4, 280, tf=True),
    "tf_efficientnet_lite4": _lite_preset(1.4, 1.8, 300, tf=True),
}
