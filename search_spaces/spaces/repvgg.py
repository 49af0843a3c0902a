"""RepVGG and MobileOne: plain chains of layers, each trained as parallel convolutions."""

from collections.abc import Mapping
from functools import partial

from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace

_WIDTHS = (64, 128, 256, 512)


def repvgg(
    name: str = "repvgg",
    *,
    factors: tuple[float, ...] = (1, 1, 1, 2.5),
    depths: tuple[int, ...] = (2, 4, 14, 1),
    groups: int = 1,
    stem_stride: int = 2,
) -> StagedSpace:
    """RepVGG (Ding et al. 2021, tables 2 and 3): ``factors`` times 64 to 512 channels, groups in every other layer."""
    stages = [one("stem", "repvgg_block", int(min(64, 64 * factors[0])), stem_stride)]
    for i, (width, factor, depth) in enumerate(zip(_WIDTHS, factors, depths, strict=True), 1):
        by_layer = tuple([groups if layer % 2 else 1 for layer in range(depth)])
        stages.append(row(f"stage{i}", "repvgg_block", int(width * factor), depth, 2, groups=by_layer))
    return StagedSpace(name, stages)


def mobileone(
    name: str = "mobileone",
    *,
    factors: tuple[float, ...] = (1.5, 1.5, 2, 2.5),
    depths: tuple[int, ...] = (2, 8, 10, 1),
    branches: int = 1,
    attended: tuple[int, ...] = (0, 0, 0, 0),
    stem_stride: int = 2,
) -> StagedSpace:
    """MobileOne (Vasu et al. 2023, tables 2 and 3).

    ``factors`` times 64 to 512 channels; ``branches`` parallel convolutions in every layer but the stem; the last
    ``attended`` blocks of each stage have squeeze-and-excitation.
    """
    stages = [one("stem", "repvgg_block", int(min(64, 64 * factors[0])), stem_stride)]
    for i, (width, factor, depth, last) in enumerate(zip(_WIDTHS, factors, depths, attended, strict=True), 1):
        attention = ("none",) * (depth - last) + ("se_16_of_8",) * last
        out_channels = int(width * factor)
        stages.append(
            row(f"stage{i}", "mobileone_block", out_channels, depth, 2, branches=branches, attention=attention)
        )
    return StagedSpace(name, stages)


_REPVGG = "Ding et al. 2021, arXiv:2101.03697"
_MOBILEONE = "Vasu et al. 2023, arXiv:2206.04040"
_B = partial(repvgg, depths=(4, 6, 16, 1))
_B1 = partial(_B, factors=(2, 2, 2, 4))
_B2 = partial(_B, factors=(2.5, 2.5, 2.5, 5))
_B3 = partial(_B, factors=(3, 3, 3, 5))

REPVGG_PRESETS: Mapping[str, Preset] = {
    "repvgg_a0": Preset(partial(repvgg, factors=(0.75, 0.75, 0.75, 2.5)), _REPVGG),
    "repvgg_a1": Preset(repvgg, _REPVGG),
    "repvgg_a2": Preset(partial(repvgg, factors=(1.5, 1.5, 1.5, 2.75)), _REPVGG),
    "repvgg_b0": Preset(_B, _REPVGG),
    "repvgg_b1": Preset(_B1, _REPVGG),
    "repvgg_b1g4": Preset(partial(_B1, groups=4), _REPVGG),
    "repvgg_b2": Preset(_B2, _REPVGG),
    "repvgg_b2g4": Preset(partial(_B2, groups=4), _REPVGG),
    "repvgg_b3": Preset(_B3, _REPVGG),
    "repvgg_b3g4": Preset(partial(_B3, groups=4), _REPVGG),
    "mobileone_s0": Preset(partial(mobileone, factors=(0.75, 1, 1, 2), branches=4), _MOBILEONE),
    "mobileone_s1": Preset(mobileone, _MOBILEONE),
    "mobileone_s2": Preset(partial(mobileone, factors=(1.5, 2, 2.5, 4)), _MOBILEONE),
    "mobileone_s3": Preset(partial(mobileone, factors=(2, 2.5, 3, 4)), _MOBILEONE),
    "mobileone_s4": Preset(partial(mobileone, factors=(3, 3.5, 3.5, 4), attended=(0, 0, 5, 1)), _MOBILEONE),
}
