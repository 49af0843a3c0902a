"""MambaOut: gated convolution blocks, without and with layer scale."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace


def mambaout(
    name: str = "mambaout",
    *,
    widths: tuple[int, ...] = (96, 192, 384, 576),
    depths: tuple[int, ...] = (3, 3, 9, 3),
    expand: float = 8 / 3,
    ratio: float = 1.0,
    activation: str = "gelu",
    norm_first: bool = False,
    stem_stride: int = 4,
) -> StagedSpace:
    """MambaOut (Yu and Wang 2024, arXiv:2405.07992); ``expand`` and ``ratio`` as in ``gated_cnn_block``.

    ``norm_first`` is the later variant: norms before the downsampling convolutions, layer scale, and a norm less
    in the stem and in the head.
    """
    stem: Options = {"mid_norm": (not norm_first,), "activation": (activation,)}
    layer: Options = {
        "expand": (expand,),
        "ratio": (ratio,),
        "activation": (activation,),
        "norm_first": (norm_first,),
        "layer_scale": (1e-6 if norm_first else 0.0,),
    }
    stages = [Stage("stem", "conv_stem", widths[0], stem_stride, options=stem, single=True)]
    for i, (channels, depth) in enumerate(zip(widths, depths, strict=True), 1):
        stages.append(Stage(f"stage{i}", "gated_cnn_block", channels, 1 if i == 1 else 2, (depth,), layer))
    head: Options = {"mlp_ratio": (4.0,), "inner_norm": (not norm_first,)}
    stages.append(Stage("head", "pooled_head", widths[-1], options=head, single=True))
    return StagedSpace(name, stages)


_PAPER = "Yu and Wang 2024, arXiv:2405.07992"

_FEMTO = partial(mambaout, widths=(48, 96, 192, 288))
_KOBE = partial(_FEMTO, depths=(3, 3, 15, 3))
_SMALL = partial(mambaout, depths=(3, 4, 27, 3))
_BASE = partial(_SMALL, widths=(128, 256, 512, 768))
_LATER = partial(_BASE, norm_first=True)

MAMBAOUT_PRESETS: Mapping[str, Preset] = {
    "mambaout_femto": Preset(_FEMTO, _PAPER),
    "mambaout_kobe": Preset(_KOBE, _PAPER),
    "mambaout_tiny": Preset(mambaout, _PAPER),
    "mambaout_small": Preset(_SMALL, _PAPER),
    "mambaout_base": Preset(_BASE, _PAPER),
    "mambaout_small_rw": Preset(partial(_SMALL, norm_first=True), _PAPER),
    "mambaout_base_short_rw": Preset(partial(_LATER, depths=(3, 3, 25, 3), expand=3.0, ratio=1.25), _PAPER),
    "mambaout_base_tall_rw": Preset(partial(_LATER, depths=(3, 4, 30, 3), expand=2.5, ratio=1.25), _PAPER),
    "mambaout_base_wide_rw": Preset(partial(_LATER, expand=3.0, ratio=1.5, activation="silu"), _PAPER),
    "mambaout_base_plus_rw": Preset(
        partial(_LATER, depths=(3, 4, 30, 3), expand=3.0, ratio=1.5, activation="silu"), _PAPER
    ),
}
