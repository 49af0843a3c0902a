"""Xception, the aligned Xception of DeepLabv3+, and its pre-activated form."""

from collections.abc import Mapping
from functools import partial

from search_spaces.builder import Builder, Value
from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace, listed
from search_spaces.task import classifier

Rows = tuple[tuple[int, int], ...]


def xception(name: str = "xception", *, middle: int = 8, early_strides: bool = True) -> StagedSpace:
    """Xception (Chollet 2017, figure 5): an entry flow, ``middle`` blocks of one width, an exit flow.

    ``early_strides=False`` keeps the size in the stem, for inputs of 16 to 64 pixels.
    """
    entry: Options = {"layers": (2,)}
    unopened: Options = {**entry, "opened": (False,)}
    stem: Options = {"padding": ("valid" if early_strides else "symmetric",)}
    stages = [
        Stage("stem", "xception_stem", 64, 2 if early_strides else 1, options=stem, single=True),
        Stage("entry1", "xception_residual", 128, 2, options=unopened, single=True),
        Stage("entry2", "xception_residual", 256, 2, options=entry, single=True),
        Stage("entry3", "xception_residual", 728, 2, options=entry, single=True),
        Stage("middle", "xception_residual", 728, 1, (middle,)),
        Stage("exit1", "xception_residual", 1024, 2, options={**entry, "widen": (2,)}, single=True),
        Stage("exit2", "separable_conv", 2048, depth=(2,), rules={"out_channels": listed(1536, 2048)}),
    ]
    return StagedSpace(name, stages)


def aligned_xception(
    name: str = "aligned_xception",
    *,
    middle: int = 8,
    entry: Rows = ((128, 2), (256, 2), (728, 2)),
    preact: bool = False,
    eps: float = 1e-3,
) -> StagedSpace:
    """The Xception of DeepLabv3+ (Chen et al. 2018, figure 4), ``preact`` with norm and activation in front.

    ``entry`` gives the widths and strides of the first blocks, ``middle`` the number of blocks of one width.
    """
    block = "xception_preact" if preact else "xception_residual"
    layer: Options = {"eps": (eps,)} if preact else {"eps": (eps,), "aligned": (True,)}
    last: Options = (
        {"eps": (eps,), "layers": (1,), "residual": (False,)} if preact else {"eps": (eps,), "between": ("activation",)}
    )
    stages = [
        Stage("stem", "xception_stem", 64, 2, options={"eps": (eps,), "bare": (preact,)}, single=True),
        *(
            Stage(f"entry{i}", block, channels, stride, options=layer, single=True)
            for i, (channels, stride) in enumerate(entry, 1)
        ),
        Stage("middle", block, entry[-1][0], 1, (middle,), layer),
        Stage("exit1", block, 1024, 2, options={**layer, "widen": (2,)}, single=True),
        Stage(
            *("exit2", block if preact else "separable_conv", 2048, 1, (3,), last),
            rules={"out_channels": listed(1536, 1536, 2048)},
        ),
    ]
    return StagedSpace(name, stages, classifier=activated_classifier if preact else classifier)


def activated_classifier(b: Builder, x: Value, classes: int) -> Value:
    """ReLU in front of the default classifier, after blocks that end in a sum."""
    return classifier(b, b.op("relu", "relu", x), classes)


_V1 = "Chollet 2017, arXiv:1610.02357"
_ALIGNED = "Chen et al. 2018, arXiv:1802.02611"
_65 = partial(aligned_xception, middle=16)
_71 = partial(_65, entry=((128, 2), (256, 1), (256, 2), (728, 1), (728, 2)))

XCEPTION_PRESETS: Mapping[str, Preset] = {
    "xception": Preset(xception, _V1, input_size=299),
    "legacy_xception": Preset(xception, _V1, input_size=299),
    "xception41": Preset(aligned_xception, _ALIGNED, input_size=299),
    "xception65": Preset(_65, _ALIGNED, input_size=299),
    "xception71": Preset(_71, _ALIGNED, input_size=299),
    "xception41p": Preset(partial(aligned_xception, preact=True, eps=1e-5), _ALIGNED, input_size=299),
    "xception65p": Preset(partial(_65, preact=True), _ALIGNED, input_size=299),
}
