"""The vocabulary: one function on the builder a block, one line each in ``BLOCKS``."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from search_spaces.blocks.cell_ops import (
    factorized_reduction,
    projected_pool,
    relu_conv_bn,
    split_conv,
    stacked_separable,
)
from search_spaces.blocks.conv import conv_bn_act, pooled_conv_act
from search_spaces.blocks.convnext import convnext_block, convnext_v2_block
from search_spaces.blocks.depthwise_separable import depthwise_separable
from search_spaces.blocks.edgenext import edgenext_conv, overlapping_stem, split_transpose_attention
from search_spaces.blocks.emo import emo_stem, inverted_residual_attention
from search_spaces.blocks.focal import focal_block, focal_modulation
from search_spaces.blocks.ghost import ghost_bottleneck, ghost_module
from search_spaces.blocks.halo import (
    attention_bottleneck,
    attention_inverted_bottleneck,
    global_attention,
    halo_attention,
)
from search_spaces.blocks.inception import inception, inception_resnet_stem, inception_v3_stem, inception_v4_stem
from search_spaces.blocks.inception_next import inception_depthwise, inception_next_block
from search_spaces.blocks.inception_resnet import inception_residual
from search_spaces.blocks.inverted_residual import fused_inverted_residual, identity_or_conv, inverted_residual
from search_spaces.blocks.large_kernel import unireplknet_block
from search_spaces.blocks.large_small import biased_attention, large_small_conv, lsnet_block, lsnet_stem
from search_spaces.blocks.learnable_spacing import learnable_spacing, learnable_spacing_block
from search_spaces.blocks.mambaout import gated_cnn_block
from search_spaces.blocks.metaformer import inverted_separable_conv, metaformer_block
from search_spaces.blocks.mixed_kernels import mixed_depthwise, mixed_inverted_residual, split_pointwise
from search_spaces.blocks.mk_unet import multi_kernel_depthwise, multi_kernel_inverted_residual
from search_spaces.blocks.mlp import mlp, pooled_head
from search_spaces.blocks.mobilevit import mobilevit, mobilevit_v2
from search_spaces.blocks.one_shot_aggregation import one_shot_aggregation, vovnet_stem
from search_spaces.blocks.osnet import dense_head, omni_scale, pooled_transition
from search_spaces.blocks.partial_conv import (
    partial_channel_attention,
    partial_conv,
    partial_conv_block,
    partial_self_attention,
    partial_spatial_attention,
    patch_conv_bn,
)
from search_spaces.blocks.patch import conv_stem, patch_embedding
from search_spaces.blocks.pool_bottleneck import pool_bottleneck
from search_spaces.blocks.primer import multi_dconv_head_attention, primer_layer
from search_spaces.blocks.reparameterised import mobileone_block, repvgg_block
from search_spaces.blocks.repvit import repvit_block, repvit_downsample, repvit_stem
from search_spaces.blocks.residual import (
    basic_residual,
    bottleneck_residual,
    reduction_residual,
    resnet_stem,
)
from search_spaces.blocks.rexnet import normed_squeeze_excite, rexnet_bottleneck
from search_spaces.blocks.shift import shift_bottleneck
from search_spaces.blocks.simple import simple_layer
from search_spaces.blocks.skipnet import pooled_inverted_residual
from search_spaces.blocks.squeeze_excite import effective_squeeze_excite, efficient_channel_attention, squeeze_excite
from search_spaces.blocks.star import star_block, star_stem
from search_spaces.blocks.subspace_attention import subspace_attention
from search_spaces.blocks.universal_inverted_bottleneck import (
    mobile_attention,
    pooled_conv_bn_act,
    universal_inverted_bottleneck,
)
from search_spaces.blocks.xception import separable_conv, xception_preact, xception_residual, xception_stem
from search_spaces.builder import Value
from search_spaces.graph import Shape


class Block(NamedTuple):
    """A block: its function, an example of its arguments (after the input), the paper, and an input for the example."""

    function: Callable[..., Value]
    example: tuple[object, ...]
    paper: str
    input_shape: Shape = (16, 16, 16)


BLOCKS: Mapping[str, Block] = {
    "conv_bn_act": Block(conv_bn_act, (16, 3, 2, "relu6"), "Ioffe and Szegedy 2015, arXiv:1502.03167"),
    "depthwise_separable": Block(depthwise_separable, (24, 3, 2, "relu"), "Howard et al. 2017, arXiv:1704.04861"),
    "inverted_residual": Block(
        inverted_residual, (16, 5, 6, 1, "se", "hard_swish"), "Sandler et al. 2018, arXiv:1801.04381"
    ),
    "fused_inverted_residual": Block(
        fused_inverted_residual, (16, 3, 4, 1, "se_swish", "silu", 32), "Tan and Le 2021, arXiv:2104.00298"
    ),
    "identity_or_conv": Block(identity_or_conv, (24, 2), "Wu et al. 2019, arXiv:1812.03443"),
    "pooled_conv_act": Block(pooled_conv_act, (32, "hard_swish"), "Howard et al. 2019, arXiv:1905.02244"),
    "bottleneck_residual": Block(bottleneck_residual, (64, 3, 2, 4, "relu"), "He et al. 2016, arXiv:1512.03385"),
    "basic_residual": Block(
        *(basic_residual, (32, 3, 2, "relu", "se_16", "pool", "blurred", "batch", "ibn_a", "instance")),
        "He et al. 2016, arXiv:1512.03385",
    ),
    "one_shot_aggregation": Block(
        one_shot_aggregation, (16, 8, 3, 1, 3, "separable", True, "ese"), "Lee et al. 2019, arXiv:1904.09730"
    ),
    "vovnet_stem": Block(vovnet_stem, (24, 4, 16), "Lee et al. 2019, arXiv:1904.09730"),
    "separable_conv": Block(separable_conv, (24, 3, 2, "relu", "norm"), "Chollet 2017, arXiv:1610.02357"),
    "xception_residual": Block(xception_residual, (24, 3, 2, 3, 2), "Chollet 2017, arXiv:1610.02357"),
    "xception_preact": Block(xception_preact, (24, 3, 2, 3, 2), "Chen et al. 2018, arXiv:1802.02611"),
    "xception_stem": Block(xception_stem, (32, 2, "relu", "valid"), "Chollet 2017, arXiv:1610.02357"),
    "inception": Block(inception, (40, "v4_reduction_b", 2, "valid"), "Szegedy et al. 2017, arXiv:1602.07261"),
    "inception_residual": Block(inception_residual, (24, "resnet_c", 0.5), "Szegedy et al. 2017, arXiv:1602.07261"),
    "inception_v3_stem": Block(inception_v3_stem, (24, 2, "symmetric"), "Szegedy et al. 2016, arXiv:1512.00567"),
    "inception_v4_stem": Block(inception_v4_stem, (24, 4, "symmetric"), "Szegedy et al. 2017, arXiv:1602.07261"),
    "inception_resnet_stem": Block(
        inception_resnet_stem, (40, 8, "symmetric"), "Szegedy et al. 2017, arXiv:1602.07261"
    ),
    "resnet_stem": Block(resnet_stem, (16, 7, 2, "relu"), "He et al. 2016, arXiv:1512.03385"),
    "reduction_residual": Block(reduction_residual, (32,), "Dong and Yang 2020, arXiv:2001.00326"),
    "relu_conv_bn": Block(relu_conv_bn, (16, 3, 2, "same", 1e-3, 2), "Zoph et al. 2018, arXiv:1707.07012"),
    "stacked_separable": Block(stacked_separable, (24, 5, 2, "same", 1e-3), "Zoph et al. 2018, arXiv:1707.07012"),
    "split_conv": Block(split_conv, (24, 7, 2, "same", 1e-3), "Zoph et al. 2018, arXiv:1707.07012"),
    "projected_pool": Block(projected_pool, (24, 3, 2, "same", 1e-3), "Zoph et al. 2018, arXiv:1707.07012"),
    "factorized_reduction": Block(factorized_reduction, (24, 1e-3, "relu"), "Zoph et al. 2018, arXiv:1707.07012"),
    "effective_squeeze_excite": Block(effective_squeeze_excite, (), "Lee and Park 2020, arXiv:1911.06667"),
    "efficient_channel_attention": Block(efficient_channel_attention, (), "Wang et al. 2020, arXiv:1910.03151"),
    "squeeze_excite": Block(squeeze_excite, (4, "relu", "sigmoid"), "Hu et al. 2018, arXiv:1709.01507"),
    "mobilevit": Block(mobilevit, (24, 3, 16, 1, 5), "Mehta and Rastegari 2022, arXiv:2110.02178"),
    "mobilevit_v2": Block(mobilevit_v2, (24, 3, 0.5, 1, 5), "Mehta and Rastegari 2022, arXiv:2206.02680"),
    "overlapping_stem": Block(overlapping_stem, (24, 9, 4), "Maaz et al. 2022, arXiv:2206.10589"),
    "edgenext_conv": Block(edgenext_conv, (16, 5, 1), "Maaz et al. 2022, arXiv:2206.10589"),
    "split_transpose_attention": Block(
        split_transpose_attention, (3, 4, 4.0, "gelu", "fourier"), "Maaz et al. 2022, arXiv:2206.10589"
    ),
    "ghost_module": Block(ghost_module, (24,), "Han et al. 2020, arXiv:1911.11907"),
    "ghost_bottleneck": Block(ghost_bottleneck, (24, 5, 3, 2, "se", True), "Tang et al. 2022, arXiv:2211.12905"),
    "halo_attention": Block(halo_attention, (2, 6, 2, 4), "Vaswani et al. 2021, arXiv:2103.12731"),
    "global_attention": Block(global_attention, (2, 4), "Srinivas et al. 2021, arXiv:2101.11605"),
    "attention_inverted_bottleneck": Block(
        attention_inverted_bottleneck, (16, 1, 2.0, "halo"), "Vaswani et al. 2021, arXiv:2103.12731"
    ),
    "attention_bottleneck": Block(
        attention_bottleneck, (32, 2, 2.0, "halo", "relu", 4, 1, 4), "Vaswani et al. 2021, arXiv:2103.12731"
    ),
    "patch_embedding": Block(patch_embedding, (24, 3, 2, "layer", True), "Liu et al. 2022, arXiv:2201.03545"),
    "conv_stem": Block(conv_stem, (24, 4, True, True, "gelu"), "Xiao et al. 2021, arXiv:2106.14881"),
    "mlp": Block(mlp, (2.0, "gelu", True, True), "Vaswani et al. 2017, arXiv:1706.03762"),
    "pooled_head": Block(pooled_head, ("after", 3.0, "gelu", True), "Liu et al. 2022, arXiv:2201.03545"),
    "convnext_block": Block(convnext_block, (24, 7, 4.0, 2), "Liu et al. 2022, arXiv:2201.03545"),
    "convnext_v2_block": Block(convnext_v2_block, (24, 7, 4.0, 2, "gelu", True), "Woo et al. 2023, arXiv:2301.00808"),
    "inception_depthwise": Block(inception_depthwise, (), "Yu et al. 2023, arXiv:2303.16900"),
    "inception_next_block": Block(inception_next_block, (24, 3, 11, 0.125, 3.0, 2), "Yu et al. 2023, arXiv:2303.16900"),
    "inverted_separable_conv": Block(inverted_separable_conv, (), "Yu et al. 2022, arXiv:2210.13452"),
    "metaformer_block": Block(
        metaformer_block,
        (24, "attention", 4.0, 2, "star_relu", 7, 3, 8, False, True),
        "Yu et al. 2022, arXiv:2210.13452",
    ),
    "gated_cnn_block": Block(gated_cnn_block, (24, 7, 2.5, 1.25, 2), "Yu and Wang 2024, arXiv:2405.07992"),
    "focal_modulation": Block(focal_modulation, (), "Yang et al. 2022, arXiv:2203.11926"),
    "focal_block": Block(focal_block, (24, 2, 3, 4.0, 2), "Yang et al. 2022, arXiv:2203.11926"),
    "star_stem": Block(star_stem, (16,), "Ma et al. 2024, arXiv:2403.19967"),
    "star_block": Block(star_block, (24, 7, 3.0, 2), "Ma et al. 2024, arXiv:2403.19967"),
    "patch_conv_bn": Block(patch_conv_bn, (24, 4), "Chen et al. 2023, arXiv:2303.03667"),
    "partial_conv": Block(partial_conv, (), "Chen et al. 2023, arXiv:2303.03667"),
    "partial_channel_attention": Block(partial_channel_attention, (), "Huang et al. 2025, arXiv:2502.01303"),
    "partial_self_attention": Block(
        partial_self_attention, (3, 4, 3), "Huang et al. 2025, arXiv:2502.01303", (16, 6, 5)
    ),
    "partial_spatial_attention": Block(partial_spatial_attention, (), "Huang et al. 2025, arXiv:2502.01303"),
    "partial_conv_block": Block(
        partial_conv_block, (24, 3, 2.0, 2, 4, "gelu", "self", True, 3), "Chen et al. 2023, arXiv:2303.03667"
    ),
    "mixed_depthwise": Block(mixed_depthwise, (3, 2), "Tan and Le 2019, arXiv:1907.09595"),
    "split_pointwise": Block(split_pointwise, (24, 2), "Tan and Le 2019, arXiv:1907.09595"),
    "mixed_inverted_residual": Block(
        mixed_inverted_residual, (16, 4, 3, 1, "se_swish_half", "silu", 2, 2), "Tan and Le 2019, arXiv:1907.09595"
    ),
    "normed_squeeze_excite": Block(normed_squeeze_excite, (4,), "Han et al. 2021, arXiv:2007.00992"),
    "rexnet_bottleneck": Block(rexnet_bottleneck, (23, 3, 6.0, 1, 0.25), "Han et al. 2021, arXiv:2007.00992"),
    "universal_inverted_bottleneck": Block(
        universal_inverted_bottleneck, (16, 3, 5, 4.0, 1, "relu", 0.1), "Qin et al. 2024, arXiv:2404.10518"
    ),
    "mobile_attention": Block(mobile_attention, (16, 2, 8, 2, 0.1), "Qin et al. 2024, arXiv:2404.10518"),
    "pooled_conv_bn_act": Block(pooled_conv_bn_act, (32,), "Qin et al. 2024, arXiv:2404.10518"),
    "repvgg_block": Block(repvgg_block, (16, 3, 1, 4, 2, "se_16"), "Ding et al. 2021, arXiv:2101.03697"),
    "mobileone_block": Block(mobileone_block, (24, 3, 2, 3), "Vasu et al. 2023, arXiv:2206.04040"),
    "repvit_stem": Block(repvit_stem, (16, 4), "Wang et al. 2024, arXiv:2307.09283"),
    "repvit_block": Block(repvit_block, (16, 3, 2.0, 1, "se_of_8"), "Wang et al. 2024, arXiv:2307.09283"),
    "repvit_downsample": Block(repvit_downsample, (24,), "Wang et al. 2024, arXiv:2307.09283"),
    "unireplknet_block": Block(unireplknet_block, (16, 9), "Ding et al. 2024, arXiv:2311.15599"),
    "learnable_spacing": Block(learnable_spacing, (7, 5), "Khalfaoui-Hassani et al. 2023, arXiv:2112.03740"),
    "learnable_spacing_block": Block(
        learnable_spacing_block, (24, 9, 6, 2.0, 2), "Khalfaoui-Hassani et al. 2023, arXiv:2112.03740"
    ),
    "shift_bottleneck": Block(shift_bottleneck, (16, 2.0, 1, 2), "Chen et al. 2019, arXiv:1903.05285"),
    "lsnet_stem": Block(lsnet_stem, (16, 4), "Wang et al. 2025, arXiv:2503.23135"),
    "large_small_conv": Block(large_small_conv, (5,), "Wang et al. 2025, arXiv:2503.23135"),
    "biased_attention": Block(biased_attention, (4, 8), "Graham et al. 2021, arXiv:2104.01136", (16, 4, 5)),
    "lsnet_block": Block(lsnet_block, (24, "depthwise", 7, 2.0, 2), "Wang et al. 2025, arXiv:2503.23135"),
    "omni_scale": Block(omni_scale, (128, 4, 3, "instance", "instance"), "Zhou et al. 2019, arXiv:1905.00953"),
    "pooled_transition": Block(pooled_transition, (24, 2), "Zhou et al. 2019, arXiv:1905.00953"),
    "dense_head": Block(dense_head, (24,), "Zhou et al. 2019, arXiv:1905.00953"),
    "pool_bottleneck": Block(pool_bottleneck, (32, 2, 4, True), "Han et al. 2022, arXiv:2202.02777"),
    "subspace_attention": Block(subspace_attention, (4,), "Saini et al. 2020, arXiv:2006.15102"),
    "multi_kernel_depthwise": Block(multi_kernel_depthwise, (5, 2), "Rahman and Marculescu 2025, arXiv:2509.18493"),
    "multi_kernel_inverted_residual": Block(
        multi_kernel_inverted_residual, (24, 5, 1), "Rahman and Marculescu 2025, arXiv:2509.18493"
    ),
    "simple_layer": Block(simple_layer, (24, 1, 1, True), "Hasanpour et al. 2016, arXiv:1608.06037"),
    "emo_stem": Block(emo_stem, (24,), "Zhang et al. 2023, arXiv:2301.01146"),
    "pooled_inverted_residual": Block(
        pooled_inverted_residual, (24, 5, 2.3, 4), "Abrahamyan et al. 2021, arXiv:2107.11170"
    ),
    "inverted_residual_attention": Block(
        inverted_residual_attention, (16, 5, 3.0, 1, "both", 8, 7), "Zhang et al. 2024, arXiv:2412.06674"
    ),
    "multi_dconv_head_attention": Block(multi_dconv_head_attention, (4, 3), "So et al. 2021, arXiv:2109.08668"),
    "primer_layer": Block(primer_layer, (4, 3, 2.0), "So et al. 2021, arXiv:2109.08668"),
}
"""Every block by name. The first argument of a block is the builder, the second its input."""
