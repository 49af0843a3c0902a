"""Search spaces: architectures as choices, networks as data."""

from search_spaces.architecture import Architecture, Choice, SearchSpace
from search_spaces.blocks import BLOCKS
from search_spaces.catalogue import SPACES, get_preset, get_space, preset_point, presets_in
from search_spaces.preset import Preset
from search_spaces.presets import PRESETS
from search_spaces.task import Classification, Task

__all__ = [
    "BLOCKS",
    "PRESETS",
    "SPACES",
    "Architecture",
    "Choice",
    "Classification",
    "Preset",
    "SearchSpace",
    "Task",
    "get_preset",
    "get_space",
    "preset_point",
    "presets_in",
]
