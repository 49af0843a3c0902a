"""SimpleNet: thirteen plain convolutions."""

from collections.abc import Mapping
from functools import partial

from search_spaces.builder import Builder, Value
from search_spaces.preset import Preset
from search_spaces.staged import Stage, StagedSpace


def simplenet(
    name: str,
    widths: tuple[int, ...],
    *,
    pools: tuple[int, ...] = (4, 7, 9, 12),
    pointwise: tuple[int, ...] = (11, 12),
    strided: tuple[int, ...] = (),
    width: float = 1.0,
) -> StagedSpace:
    """A chain of ``simple_layer`` (Hasanpour et al. 2016, section 4), by the ``widths`` of its layers.

    ``pools`` lists the layers that end in a pool, ``pointwise`` those of kernel 1, ``strided`` those of stride 2,
    counted from 1; ``width`` multiplies the channels.
    """
    stages = [
        Stage(
            f"layer{i}",
            "simple_layer",
            channels,
            2 if i in strided else 1,
            options={"kernel": (1 if i in pointwise else 3,), "pool": (i in pools,)},
            divisor=1,
            single=True,
        )
        for i, channels in enumerate(widths, 1)
    ]
    return StagedSpace(name, stages, width=(width,), classifier=max_classifier)


def max_classifier(b: Builder, x: Value, classes: int) -> Value:
    """Global max pooling and a linear layer."""
    x = b.op("pool", "global_max_pool", x)
    return b.linear("fc", b.op("flat", "flatten", x), classes)


_PAPER = "Hasanpour et al. 2016, arXiv:1608.06037"

_5M = (64, 128, 128, 128, 128, 128, 256, 256, 256, 512, 2048, 256, 256)
_310K = (64, 32, 32, 32, 32, 32, 64, 64, 64, 128, 256, 64, 64)
_LARGE = (64, 128, 128, 128, 128, 128, 256, 256, 256, 512, 2048, 256, 256)
_LARGER = (128, 192, 192, 192, 192, 192, 320, 320, 320, 640, 2560, 320, 320)
_STRIDES = {"m1": (1, 2, 3), "m2": (1, 2, 4)}
"""The early strided layers of the networks for 224 pixels: mode 1 is the faster one."""


def _large(widths: tuple[int, ...], mode: str, width: float = 1.0) -> Preset:
    make = partial(simplenet, "simplenet_large", widths, pools=(6, 10), strided=_STRIDES[mode], width=width)
    return Preset(make, _PAPER)


SIMPLENET_PRESETS: Mapping[str, Preset] = {
    "simplenet_310k": Preset(partial(simplenet, "simplenet_310k", _310K), _PAPER, input_size=32),
    "simplenet_5m": Preset(partial(simplenet, "simplenet_5m", _5M), _PAPER, input_size=32),
    "simplenetv1_small_m1_05": _large(_LARGE, "m1", 0.5),
    "simplenetv1_small_m2_05": _large(_LARGE, "m2", 0.5),
    "simplenetv1_small_m1_075": _large(_LARGE, "m1", 0.75),
    "simplenetv1_small_m2_075": _large(_LARGE, "m2", 0.75),
    "simplenetv1_5m_m1": _large(_LARGE, "m1"),
    "simplenetv1_5m_m2": _large(_LARGE, "m2"),
    "simplenetv1_9m_m1": _large(_LARGER, "m1"),
    "simplenetv1_9m_m2": _large(_LARGER, "m2"),
}
