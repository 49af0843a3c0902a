"""HaloNets: residual networks whose bottlenecks attend in place of their 3 x 3 convolution."""

from collections.abc import Mapping, Sequence
from functools import partial

from search_spaces.preset import Preset
from search_spaces.staged import Options, Stage, StagedSpace, listed

_CONV = ("conv",)


def halonet(
    name: str,
    mixers: Sequence[Sequence[str]],
    *,
    widths: tuple[int, ...] = (256, 512, 1024, 2048),
    reduction: float = 4,
    halo: int = 3,
    heads: tuple[int, ...] = (8, 8, 8, 8),
    tiered: bool = True,
    pool: bool = True,
    activation: str = "silu",
) -> StagedSpace:
    """A residual network by the ``mixers`` of its bottlenecks, stage by stage (Vaswani et al. 2021, section 2.3).

    ``tiered``: three 3 x 3 convolutions in place of one 7 x 7 before the stages; ``pool``: a max pool after them,
    without which the last of the three has stride 2.
    """
    stages = _stem(tiered, pool, activation)
    for i, (width, mixer, count) in enumerate(zip(widths, mixers, heads, strict=True)):
        options: Options = {
            "reduction": (reduction,),
            "activation": (activation,),
            "halo": (halo,),
            "heads": (count,),
        }
        stages.append(
            Stage(
                f"stage{i + 1}",
                "attention_bottleneck",
                width,
                1 if i == 0 else 2,
                (len(mixer),),
                options,
                rules={"mixer": listed(*mixer)},
            )
        )
    return StagedSpace(name, stages)


def halo_regnet(name: str = "halo_regnet") -> StagedSpace:
    """RegNetZ-B (Dollar et al. 2021, arXiv:2103.06877) with halo attention in its last two stages."""
    stem: Options = {"kernel": (3,), "activation": ("silu",)}
    stages = [Stage("stem", "conv_bn_act", 32, 2, options=stem, single=True)]
    rows = [(48, _CONV * 2), (96, _CONV * 6), (192, (*_CONV * 3, "halo") * 3), (288, ("halo",) * 2)]
    for i, (width, mixer) in enumerate(rows, 1):
        rules = {"mixer": listed(*mixer)}
        stages.append(Stage(f"stage{i}", "attention_inverted_bottleneck", width, 2, (len(mixer),), rules=rules))
    head: Options = {"kernel": (1,), "activation": ("silu",)}
    stages.append(Stage("head", "conv_bn_act", 1536, options=head, single=True))
    return StagedSpace(name, stages)


def _stem(tiered: bool, pool: bool, activation: str) -> list[Stage]:
    conv: Options = {"activation": (activation,), "kernel": (3 if tiered else 7,)}
    if pool:
        form: Options = {"form": ("tiered" if tiered else "single",)}
        return [Stage("stem", "resnet_stem", 64, 2, options={**conv, **form}, single=True)]
    return [
        Stage("stem1", "conv_bn_act", 24, 2, options=conv, single=True),
        Stage("stem2", "conv_bn_act", 32, 1, options=conv, single=True),
        Stage("stem3", "conv_bn_act", 64, 2, options=conv, single=True),
    ]


def _alternating(depth: int, other: str = "halo") -> tuple[str, ...]:
    """Every second bottleneck attends, the first does not."""
    return tuple(other if i % 2 else "conv" for i in range(depth))


_PAPER = "Vaswani et al. 2021, arXiv:2103.12731"

_26T = partial(
    halonet,
    "halonet26t",
    (_CONV * 2, _CONV * 2, _alternating(2), ("halo",) * 2),
    halo=2,
    activation="relu",
)
_50TS = partial(
    halonet,
    "halonet50ts",
    (_CONV * 3, (*_CONV * 3, "halo"), _alternating(6), _alternating(3)),
    heads=(8, 4, 8, 8),
)
_BOT = partial(
    halonet,
    "halo2botnet50ts",
    (_CONV * 3, _alternating(4), _alternating(6), _alternating(3, "global")),
    heads=(8, 8, 8, 4),
    pool=False,
)
_H1 = partial(
    halonet,
    "halonet_h1",
    (("halo",) * 3, ("halo",) * 3, ("halo",) * 10, ("halo",) * 3),
    widths=(64, 128, 256, 512),
    reduction=1,
    tiered=False,
    activation="relu",
)

HALONET_PRESETS: Mapping[str, Preset] = {
    "halonet26t": Preset(_26T, _PAPER, input_size=256),
    "halonet50ts": Preset(_50TS, _PAPER, input_size=256),
    "halonet_h1": Preset(_H1, _PAPER, input_size=256),
    "halo2botnet50ts_256": Preset(_BOT, _PAPER, input_size=256),
    "haloregnetz_b": Preset(halo_regnet, _PAPER),
}
