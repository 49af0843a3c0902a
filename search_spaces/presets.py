"""Every known network by the name under which it is published; one line a family."""

from collections.abc import Mapping

from search_spaces.preset import Preset
from search_spaces.spaces.convnext import CONVNEXT_PRESETS
from search_spaces.spaces.edge import EDGE_PRESETS
from search_spaces.spaces.edgenext import EDGENEXT_PRESETS
from search_spaces.spaces.efficientnet import EFFICIENTNET_PRESETS
from search_spaces.spaces.efficientnet_v2 import EFFICIENTNET_V2_PRESETS
from search_spaces.spaces.emo import EMO_PRESETS
from search_spaces.spaces.fasternet import FASTERNET_PRESETS
from search_spaces.spaces.fbnet import FBNET_PRESETS
from search_spaces.spaces.focalnet import FOCALNET_PRESETS
from search_spaces.spaces.ghostnet import GHOSTNET_PRESETS
from search_spaces.spaces.halonet import HALONET_PRESETS
from search_spaces.spaces.hardcore_nas import HARDCORE_NAS_PRESETS
from search_spaces.spaces.inception import INCEPTION_PRESETS
from search_spaces.spaces.inception_next import INCEPTION_NEXT_PRESETS
from search_spaces.spaces.lcnet import LCNET_PRESETS
from search_spaces.spaces.lsnet import LSNET_PRESETS
from search_spaces.spaces.mambaout import MAMBAOUT_PRESETS
from search_spaces.spaces.metaformer import METAFORMER_PRESETS
from search_spaces.spaces.mixnet import MIXNET_PRESETS
from search_spaces.spaces.mnasnet import MNASNET_PRESETS
from search_spaces.spaces.mobilenet import MOBILENET_PRESETS
from search_spaces.spaces.mobilenet_v3 import MOBILENET_V3_PRESETS
from search_spaces.spaces.mobilenet_v4 import MOBILENET_V4_PRESETS
from search_spaces.spaces.mobilevit import MOBILEVIT_PRESETS
from search_spaces.spaces.nasnet import NASNET_PRESETS
from search_spaces.spaces.osnet import OSNET_PRESETS
from search_spaces.spaces.pool_resnet import POOL_RESNET_PRESETS
from search_spaces.spaces.repvgg import REPVGG_PRESETS
from search_spaces.spaces.repvit import REPVIT_PRESETS
from search_spaces.spaces.resnet import RESNET_PRESETS
from search_spaces.spaces.rexnet import REXNET_PRESETS
from search_spaces.spaces.simplenet import SIMPLENET_PRESETS
from search_spaces.spaces.starnet import STARNET_PRESETS
from search_spaces.spaces.unireplknet import UNIREPLKNET_PRESETS
from search_spaces.spaces.vovnet import VOVNET_PRESETS
from search_spaces.spaces.xception import XCEPTION_PRESETS

PRESETS: Mapping[str, Preset] = {
    **MOBILENET_PRESETS,
    **MOBILENET_V3_PRESETS,
    **HARDCORE_NAS_PRESETS,
    **LCNET_PRESETS,
    **MNASNET_PRESETS,
    **EFFICIENTNET_PRESETS,
    **EFFICIENTNET_V2_PRESETS,
    **EDGE_PRESETS,
    **FBNET_PRESETS,
    **RESNET_PRESETS,
    **INCEPTION_PRESETS,
    **VOVNET_PRESETS,
    **XCEPTION_PRESETS,
    **MOBILEVIT_PRESETS,
    **EDGENEXT_PRESETS,
    **GHOSTNET_PRESETS,
    **HALONET_PRESETS,
    **CONVNEXT_PRESETS,
    **FOCALNET_PRESETS,
    **INCEPTION_NEXT_PRESETS,
    **MAMBAOUT_PRESETS,
    **METAFORMER_PRESETS,
    **STARNET_PRESETS,
    **FASTERNET_PRESETS,
    **MIXNET_PRESETS,
    **REXNET_PRESETS,
    **MOBILENET_V4_PRESETS,
    **REPVIT_PRESETS,
    **REPVGG_PRESETS,
    **UNIREPLKNET_PRESETS,
    **LSNET_PRESETS,
    **OSNET_PRESETS,
    **POOL_RESNET_PRESETS,
    **SIMPLENET_PRESETS,
    **EMO_PRESETS,
    **NASNET_PRESETS,
}
"""Every preset by the name under which its network is published."""
