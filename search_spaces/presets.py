"""Every known network by the name under which it is published; one line a family."""

from collections.abc import Mapping

from search_spaces.preset import Preset
from search_spaces.spaces.mobilenet import MOBILENET_PRESETS
from search_spaces.spaces.resnet import RESNET_PRESETS

PRESETS: Mapping[str, Preset] = {
    **MOBILENET_PRESETS,
    **RESNET_PRESETS,
}
"""Every preset by the name under which its network is published."""
