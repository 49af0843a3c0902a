"""HardCoRe-NAS (Nayman et al. 2021): six networks as points of a space of MobileNetV3's form."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.preset import Preset
from search_spaces.spaces.mobilenet_v3 import mobilenet_v3

hardcore_nas = partial(
    mobilenet_v3,
    "hardcore_nas",
    width=(1.0,),
    resolution=(),
    kernel=(3, 5),
    narrow=(),
    attention=("none", "se"),
    stem=32,
    last=192,
)
"""Kernel, expansion, attention and depth of five stages (section 3)."""


def _point(*stages: str) -> dict[str, Option]:
    """The choices of a network: a word a layer, ``53s`` for kernel 5, expansion 3 and squeeze-and-excitation."""
    choices: dict[str, Option] = {}
    for stage, words in enumerate(stages, 2):
        layers = words.split()
        choices[f"stage{stage}.depth"] = len(layers)
        for number, word in enumerate(layers, 1):
            prefix = f"stage{stage}.layer{number}"
            choices |= {
                f"{prefix}.kernel": int(word[0]),
                f"{prefix}.expand": float(word[1]),
                f"{prefix}.attention": "se" if word.endswith("s") else "none",
            }
    return choices


_PAPER = "Nayman et al. 2021, arXiv:2102.11646"

HARDCORE_NAS_PRESETS: Mapping[str, Preset] = {
    "hardcorenas_a": Preset(hardcore_nas, _PAPER, _point("53 53s", "53 56s", "56s 56s", "56s 56s", "56s 56s")),
    "hardcorenas_b": Preset(
        hardcore_nas, _PAPER, _point("53 53s 33", "53 53 53", "53 53 33 33", "53 33 33 33", "56s 56s 33s")
    ),
    "hardcorenas_c": Preset(
        hardcore_nas, _PAPER, _point("53 53s", "53 53 53 53", "54 56s 33 33", "56s 33 33 33", "56s 56s 33s")
    ),
    "hardcorenas_d": Preset(
        hardcore_nas,
        _PAPER,
        _point("53s 53s", "53s 54s 33s", "54s 33s 33s 33s", "34s 54s 33s 53s", "56s 56s 56s 36s"),
    ),
    "hardcorenas_e": Preset(
        hardcore_nas, _PAPER, _point("53s 53s", "56s 54s 54s 33s", "54s 36s", "56s 56s 56s 53s", "56s 56s 56s 36s")
    ),
    "hardcorenas_f": Preset(
        hardcore_nas, _PAPER, _point("53s 53s", "56s 56s", "56s 56s 33s 33s", "36s 56s 56s 33s", "56s 56s 36s 36s")
    ),
}
