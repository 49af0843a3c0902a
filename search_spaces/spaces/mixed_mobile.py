"""A mobile space in which every layer picks its block."""

from search_spaces.staged import Candidate, Options, Stage, StagedSpace

_SE: Options = {"attention": ("none", "se")}
BLOCKS_TO_CHOOSE = {
    "separable": Candidate("depthwise_separable", {"kernel": (3, 5)}),
    "inverted": Candidate("inverted_residual", {"kernel": (3, 5, 7), "expand": (3, 6), **_SE}),
    "fused": Candidate("fused_inverted_residual", {"kernel": (3,), "expand": (2, 4)}),
    "mixed": Candidate(
        "mixed_inverted_residual", {"kernels": (2, 3, 4), "expand": (3, 6), "attention": ("none", "se")}
    ),
    "ghost": Candidate("ghost_bottleneck", {"kernel": (3, 5), "expand": (2, 4), "dfc": (False, True)}),
    "universal": Candidate(
        "universal_inverted_bottleneck", {"start_kernel": (0, 3, 5), "kernel": (3, 5), "expand": (2, 4)}
    ),
    "star": Candidate("star_block", {"kernel": (3, 7), "expand": (2, 4)}),
    "partial": Candidate("partial_conv_block", {"divisions": (4,), "mlp_ratio": (2, 3)}),
    "bottleneck": Candidate("bottleneck_residual", {"kernel": (3,), "reduction": (4,)}),
    "skip": Candidate("identity_or_conv"),
}
"""The blocks of a layer by label. The names of the arguments are those of the blocks."""

_WIDTHS = (("stage2", 24, 2), ("stage3", 40, 2), ("stage4", 80, 2), ("stage5", 112, 1), ("stage6", 160, 2))


def mixed_mobile(
    name: str = "mixed_mobile",
    *,
    early_strides: bool = True,
    width: tuple[float, ...] = (0.35, 0.5, 0.75, 1.0, 1.25),
    resolution: tuple[int, ...] = (96, 128, 160, 192, 224),
    depth: tuple[int, ...] = (1, 2, 3, 4),
    activation: str = "relu",
) -> StagedSpace:
    """The stages of MobileNetV3-Large (Howard et al. 2019, table 1); every layer is one of ten blocks.

    ``early_strides=False`` keeps the size in the stem and the first two strided stages, for inputs of 8 to
    64 pixels, at the task's own size. The layer-by-layer choice of a block follows Wu et al. 2019, FBNet.
    """
    early = 2 if early_strides else 1
    acts: Options = {"activation": (activation,)}
    stages = [
        Stage("stem", "conv_bn_act", 16, early, options={"kernel": (3,), **acts}, single=True),
        Stage("stage1", "depthwise_separable", 16, options={"kernel": (3,), **acts}),
        *(
            Stage(stage, BLOCKS_TO_CHOOSE, channels, early if stage in ("stage2", "stage3") else stride, depth, acts)
            for stage, channels, stride in _WIDTHS
        ),
        Stage("head", "conv_bn_act", 960, options={"kernel": (1,), **acts}, single=True),
    ]
    return StagedSpace(
        name,
        stages,
        width=width,
        resolution=resolution if early_strides else (),
    )
