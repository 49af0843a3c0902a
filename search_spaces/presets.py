"""Known networks as points of spaces."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.architecture import Architecture, Option
from search_spaces.graph import Graph, Shape
from search_spaces.spaces.mobilenet import mobilenet_v1, mobilenet_v2
from search_spaces.spaces.resnet import resnet
from search_spaces.staged import StagedSpace
from search_spaces.task import Classification, Task


@dataclass(frozen=True)
class Preset:
    """A published network: the space that it lies in, its active choices, and the paper."""

    name: str
    space: Callable[[], StagedSpace]
    choices: Mapping[str, Option]
    paper: str

    def architecture(self) -> Architecture:
        """The network as a point of its space."""
        return self.space().from_dict(self.choices)

    def graph(self, input_shape: Shape = (3, 224, 224), classes: int = 1000) -> Graph:
        """The training graph as published, at any input shape (channels, height, width)."""
        task = Task(tuple(input_shape), Classification(classes))
        space = self.space()
        return space.network(space.from_dict(self.choices), task.input_shape, task.head)


def _mobilenet_v2(width: float) -> dict[str, Option]:
    choices: dict[str, Any] = {"width": width, "resolution": 224}
    for stage, depth in enumerate((2, 3, 4, 3, 3, 1), 2):
        if stage < 7:
            choices[f"stage{stage}.depth"] = depth
        for layer in range(1, depth + 1):
            choices |= {f"stage{stage}.layer{layer}.kernel": 3, f"stage{stage}.layer{layer}.expand": 6}
    return choices


_V1 = "Howard et al. 2017, arXiv:1704.04861"
_V2 = "Sandler et al. 2018, arXiv:1801.04381"

PRESETS: Mapping[str, Preset] = {
    "mobilenetv1_100": Preset("mobilenetv1_100", mobilenet_v1, {"width": 1.0}, _V1),
    "mobilenetv2_100": Preset("mobilenetv2_100", mobilenet_v2, _mobilenet_v2(1.0), _V2),
    "mobilenetv2_140": Preset("mobilenetv2_140", mobilenet_v2, _mobilenet_v2(1.4), _V2),
    "resnet50": Preset("resnet50", resnet, {"width": 1.0}, "He et al. 2016, arXiv:1512.03385"),
}
"""Every preset by the name under which its network is published."""
