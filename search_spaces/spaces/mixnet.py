"""MixNet: inverted residuals whose depthwise convolutions mix kernel sizes."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


class _Layer(NamedTuple):
    """``kernels``: how many sizes from 3 on; the groups of the pointwise convolutions."""

    kernels: int
    expand: int = 6
    attention: str = "se_swish_half"
    expand_groups: int = 1
    project_groups: int = 1


class _Stage(NamedTuple):
    """``depth`` layers, the first like ``first`` and the others like ``rest``."""

    out_channels: int
    stride: int
    depth: int
    first: _Layer
    rest: _Layer
    activation: str = "silu"


class _Network(NamedTuple):
    stem: int
    stages: tuple[_Stage, ...]


_TWO = (2, 2)
_SMALL = _Network(
    16,
    (
        _Stage(24, 2, 2, _Layer(1, 6, "none", *_TWO), _Layer(1, 3, "none", *_TWO), "relu"),
        _Stage(40, 2, 4, _Layer(3), _Layer(2, 6, "se_swish_half", *_TWO)),
        _Stage(80, 2, 3, _Layer(3, 6, "se_swish", 1, 2), _Layer(2, 6, "se_swish", 1, 2)),
        _Stage(120, 1, 3, _Layer(3, 6, "se_swish_half", *_TWO), _Layer(4, 3, "se_swish_half", *_TWO)),
        _Stage(200, 2, 3, _Layer(5), _Layer(4, 6, "se_swish_half", 1, 2)),
    ),
)
_MEDIUM = _Network(
    24,
    (
        _Stage(32, 2, 2, _Layer(3, 6, "none", *_TWO), _Layer(1, 3, "none", *_TWO), "relu"),
        _Stage(40, 2, 4, _Layer(4), _Layer(2, 6, "se_swish_half", *_TWO)),
        _Stage(80, 2, 4, _Layer(3, 6, "se_swish"), _Layer(4, 6, "se_swish", *_TWO)),
        _Stage(120, 1, 4, _Layer(1), _Layer(4, 3, "se_swish_half", *_TWO)),
        _Stage(200, 2, 4, _Layer(4), _Layer(4, 6, "se_swish_half", 1, 2)),
    ),
)


def mixnet(
    size: str = "small",
    width: float = 1.0,
    depth: float = 1.0,
    eps: float = 1e-5,
    padding: str = "symmetric",
    stem_stride: int = 2,
) -> StagedSpace:
    """MixNet-S ("small") or M ("medium") at multipliers of width and depth (Tan and Le 2019, section 4).

    L is M with 1.3 times the width. ``eps`` is the batch norms', ``padding`` one of ``PADDINGS``.
    """
    network = {"small": _SMALL, "medium": _MEDIUM}[size]
    both: dict[str, Any] = {"eps": eps, "padding": padding}
    stages = []
    for number, stage in enumerate(network.stages, 2):
        layers = round(stage.depth * depth)
        fields: dict[str, Any] = {
            name: (getattr(stage.first, name), *(getattr(stage.rest, name),) * (layers - 1)) for name in _Layer._fields
        }
        fields |= {"activation": stage.activation, **both}
        name = f"stage{number}"
        stages.append(row(name, "mixed_inverted_residual", stage.out_channels, layers, stage.stride, **fields))
    relu: dict[str, Any] = {"kernel": 3, "activation": "relu", **both}
    return StagedSpace(
        "mixnet",
        [
            one("stem", "conv_bn_act", network.stem, stem_stride, **relu),
            row("stage1", "inverted_residual", network.stem, expand=1, attention="none", **relu),
            *stages,
            one("head", "conv_bn_act", 1536, scaled=False, kernel=1, activation="relu", eps=eps),
        ],
        width=(width,),
    )


_PAPER = "Tan and Le 2019, arXiv:1907.09595"
_tensorflow = partial(mixnet, eps=1e-3, padding="same")

MIXNET_PRESETS: Mapping[str, Preset] = {
    "mixnet_s": Preset(mixnet, _PAPER),
    "mixnet_m": Preset(partial(mixnet, "medium"), _PAPER),
    "mixnet_l": Preset(partial(mixnet, "medium", 1.3), _PAPER),
    "mixnet_xl": Preset(partial(mixnet, "medium", 1.6, 1.2), _PAPER),
    "mixnet_xxl": Preset(partial(mixnet, "medium", 2.4, 1.3), _PAPER),
    "tf_mixnet_s": Preset(_tensorflow, _PAPER),
    "tf_mixnet_m": Preset(partial(_tensorflow, "medium"), _PAPER),
    "tf_mixnet_l": Preset(partial(_tensorflow, "medium", 1.3), _PAPER),
}
