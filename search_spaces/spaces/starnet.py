"""StarNet: stages of star blocks."""

from collections.abc import Mapping
from functools import partial

from search_spaces.builder import Builder, Value
from search_spaces.preset import Preset
from search_spaces.spaces.rows import one, row
from search_spaces.staged import StagedSpace
from search_spaces.task import classifier


def normed_classifier(b: Builder, x: Value, classes: int) -> Value:
    """Batch norm, global average pooling, and a linear layer."""
    return classifier(b, b.batch_norm("bn", x), classes)


def starnet(
    base: int = 32, depths: tuple[int, int, int, int] = (3, 3, 12, 5), expand: float = 4.0, stem_stride: int = 2
) -> StagedSpace:
    """Four stages of ``base`` times 1, 2, 4 and 8 channels, which halve the size (Ma et al. 2024, section 4)."""
    stem = one("stem", "star_stem", 32, stem_stride, scaled=False)
    stages = [
        row(f"stage{i + 1}", "star_block", base * 2**i, depth, 2, scaled=False, expand=expand)
        for i, depth in enumerate(depths)
    ]
    return StagedSpace("starnet", [stem, *stages], classifier=normed_classifier)


_PAPER = "Ma et al. 2024, arXiv:2403.19967"

STARNET_PRESETS: Mapping[str, Preset] = {
    "starnet_s050": Preset(partial(starnet, 16, (1, 1, 3, 1), 3.0), _PAPER),
    "starnet_s100": Preset(partial(starnet, 20, (1, 2, 4, 1)), _PAPER),
    "starnet_s150": Preset(partial(starnet, 24, (1, 2, 4, 2), 3.0), _PAPER),
    "starnet_s1": Preset(partial(starnet, 24, (2, 2, 8, 3)), _PAPER),
    "starnet_s2": Preset(partial(starnet, 32, (1, 2, 6, 2)), _PAPER),
    "starnet_s3": Preset(partial(starnet, 32, (2, 2, 8, 4)), _PAPER),
    "starnet_s4": Preset(partial(starnet, 32, (3, 3, 12, 5)), _PAPER),
}
