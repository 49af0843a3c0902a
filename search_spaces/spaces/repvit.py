"""RepViT."""

from collections.abc import Mapping
from functools import partial

from search_spaces.blocks.repvit import distilled_classifier
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


def repvit(
    name: str = "repvit",
    *,
    widths: tuple[int, ...] = (48, 96, 192, 384),
    depths: tuple[int, ...] = (2, 2, 14, 2),
    norm_last: bool = True,
    stem_stride: int = 4,
) -> StagedSpace:
    """RepViT (Wang et al. 2024, section 3): every other block of a stage has squeeze-and-excitation, the first one too.

    The heads are those of training: two, whose outputs are averaged. ``norm_last`` is false for the networks of
    the first version of the paper (M1 to M3). ``stem_stride`` 1 or 2 is for small images.
    """
    stages = [one("stem", "repvit_stem", widths[0], stem_stride)]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        attention = tuple(["none" if layer % 2 else "se_of_8" for layer in range(depth)])
        stride = 1 if i == 1 else 2
        stages.append(row(f"stage{i}", "repvit_block", width, depth, stride, attention=attention, norm_last=norm_last))
    return StagedSpace(name, stages, classifier=distilled_classifier)


_PAPER = "Wang et al. 2024, arXiv:2307.09283"
_M = (64, 128, 256, 512)

REPVIT_PRESETS: Mapping[str, Preset] = {
    "repvit_m0_9": Preset(repvit, _PAPER),
    "repvit_m1_0": Preset(partial(repvit, widths=(56, 112, 224, 448)), _PAPER),
    "repvit_m1_1": Preset(partial(repvit, widths=_M, depths=(2, 2, 12, 2)), _PAPER),
    "repvit_m1_5": Preset(partial(repvit, widths=_M, depths=(4, 4, 24, 4)), _PAPER),
    "repvit_m2_3": Preset(partial(repvit, widths=(80, 160, 320, 640), depths=(6, 6, 34, 2)), _PAPER),
    "repvit_m1": Preset(partial(repvit, norm_last=False), _PAPER),
    "repvit_m2": Preset(partial(repvit, widths=_M, depths=(2, 2, 12, 2), norm_last=False), _PAPER),
    "repvit_m3": Preset(partial(repvit, widths=_M, depths=(4, 4, 18, 2), norm_last=False), _PAPER),
}
