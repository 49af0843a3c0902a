"""LSNet: large-small convolutions, and attention in the last stage."""

from collections.abc import Mapping
from functools import partial

from search_spaces.blocks.repvit import normed_classifier
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace


def lsnet(
    name: str = "lsnet",
    *,
    widths: tuple[int, ...] = (64, 128, 256, 384),
    depths: tuple[int, ...] = (0, 2, 8, 10),
    stem_stride: int = 8,
) -> StagedSpace:
    """LSNet (Wang et al. 2025, section 3.3): depthwise mixers in turn with large-small convolution or attention.

    ``stem_stride`` 1 to 4 is for small images.
    """
    stages = [one("stem", "lsnet_stem", widths[0], stem_stride)]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        other = "attention" if i == len(widths) else "large_small"
        mixer = tuple([other if layer % 2 else "depthwise" for layer in range(depth)])
        if depth:
            stages.append(row(f"stage{i}", "lsnet_block", width, depth, 1 if i == 1 else 2, mixer=mixer))
    return StagedSpace(name, stages, classifier=normed_classifier)


_PAPER = "Wang et al. 2025, arXiv:2503.23135"

LSNET_PRESETS: Mapping[str, Preset] = {
    "lsnet_t": Preset(lsnet, _PAPER),
    "lsnet_s": Preset(partial(lsnet, widths=(96, 192, 320, 448), depths=(1, 2, 8, 10)), _PAPER),
    "lsnet_b": Preset(partial(lsnet, widths=(128, 256, 384, 512), depths=(4, 6, 8, 10)), _PAPER),
}
