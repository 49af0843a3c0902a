"""EdgeNeXt: stages of depthwise convolutions that end in attention between channels."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace

_KERNELS = (3, 5, 7, 9)
_SCALES = (2, 2, 3, 4)


def edgenext(
    name: str = "edgenext",
    *,
    widths: tuple[int, ...] = (48, 96, 160, 304),
    depths: tuple[int, ...] = (3, 3, 9, 3),
    heads: int = 8,
    overlapping: bool = False,
) -> StagedSpace:
    """EdgeNeXt (Maaz et al. 2022, table 1): the last layer of stages 2 to 4 is attention, the kernel grows by stage.

    ``overlapping`` is the later variant: a 9 x 9 stem, stages that start with a strided depthwise convolution
    in place of a layer of their own, and no biases in convolutions.
    """
    bias: Options = {"bias": (not overlapping,)}
    patch: Options = {"kernel": (2,), "norm_first": (True,)}
    stage = partial(Stage, scaled=False)
    stem = "overlapping_stem" if overlapping else "patch_embedding"
    stages = [stage("stem", stem, widths[0], 4, options={"kernel": (9 if overlapping else 4,)}, single=True)]
    for i, (width, depth, kernel, scales) in enumerate(zip(widths, depths, _KERNELS, _SCALES, strict=True)):
        stride = 1 if i == 0 else 2
        if stride > 1 and not overlapping:
            stages.append(stage(f"downsample{i + 1}", "patch_embedding", width, stride, options=patch, single=True))
            stride = 1
        convs = depth if i == 0 else depth - 1
        stages.append(stage(f"stage{i + 1}", "edgenext_conv", width, stride, (convs,), {"kernel": (kernel,), **bias}))
        if i > 0:
            options: Options = {
                "scales": (scales,),
                "heads": (heads,),
                "position": ("fourier" if i == 1 else "none",),
                **bias,
            }
            stages.append(stage(f"attention{i + 1}", "split_transpose_attention", width, options=options, single=True))
    stages.append(stage("head", "pooled_head", widths[-1], single=True))
    return StagedSpace(name, stages)


_PAPER = "Maaz et al. 2022, arXiv:2206.10589"

_XX_SMALL = partial(edgenext, widths=(24, 48, 88, 168), depths=(2, 2, 6, 2), heads=4)
_X_SMALL = partial(edgenext, widths=(32, 64, 100, 192), heads=4)
_BASE = partial(edgenext, widths=(80, 160, 288, 584))
_SMALL_RW = partial(edgenext, widths=(48, 96, 192, 384), overlapping=True)

EDGENEXT_PRESETS: Mapping[str, Preset] = {
    "edgenext_xx_small": Preset(_XX_SMALL, _PAPER, input_size=256),
    "edgenext_x_small": Preset(_X_SMALL, _PAPER, input_size=256),
    "edgenext_small": Preset(edgenext, _PAPER, input_size=256),
    "edgenext_base": Preset(_BASE, _PAPER, input_size=256),
    "edgenext_small_rw": Preset(_SMALL_RW, _PAPER, input_size=256),
}
