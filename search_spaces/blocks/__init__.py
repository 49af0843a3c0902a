"""The vocabulary: one function on the builder a block, one line each in ``BLOCKS``."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from search_spaces.blocks.conv import conv_bn_act, pooled_conv_act
from search_spaces.blocks.convnext import convnext_block, convnext_v2_block
from search_spaces.blocks.depthwise_separable import depthwise_separable
from search_spaces.blocks.edgenext import edgenext_conv, overlapping_stem, split_transpose_attention
from search_spaces.blocks.focal import focal_block, focal_modulation
from search_spaces.blocks.ghost import ghost_bottleneck, ghost_module
from search_spaces.blocks.halo import attention_bottleneck, global_attention, halo_attention
from search_spaces.blocks.inception_next import inception_depthwise, inception_next_block
from search_spaces.blocks.inverted_residual import fused_inverted_residual, identity_or_conv, inverted_residual
from search_spaces.blocks.mambaout import gated_cnn_block
from search_spaces.blocks.metaformer import metaformer_block, separable_convolution
from search_spaces.blocks.mixed_kernels import mixed_depthwise, mixed_inverted_residual, split_pointwise
from search_spaces.blocks.mlp import mlp, pooled_head
from search_spaces.blocks.mobilevit import mobilevit, mobilevit_v2
from search_spaces.blocks.one_shot_aggregation import one_shot_aggregation, vovnet_stem
from search_spaces.blocks.partial_conv import partial_conv, partial_conv_block, patch_conv_bn
from search_spaces.blocks.patch import conv_stem, patch_embedding
from search_spaces.blocks.residual import (
    basic_residual,
    bottleneck_residual,
    reduction_residual,
    relu_conv_bn,
    resnet_stem,
)
from search_spaces.blocks.rexnet import normed_squeeze_excite, rexnet_bottleneck
from search_spaces.blocks.squeeze_excite import effective_squeeze_excite, efficient_channel_attention, squeeze_excite
from search_spaces.blocks.star import star_block, star_stem
from search_spaces.blocks.universal_inverted_bottleneck import (
    fused_inverted_bottleneck,
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
    "resnet_stem": Block(resnet_stem, (16, 7, 2, "relu"), "He et al. 2016, arXiv:1512.03385"),
    "reduction_residual": Block(reduction_residual, (32,), "Dong and Yang 2020, arXiv:2001.00326"),
    "relu_conv_bn": Block(relu_conv_bn, (16, 3, 1), "Dong and Yang 2020, arXiv:2001.00326"),
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
    "separable_convolution": Block(separable_convolution, (), "Yu et al. 2022, arXiv:2210.13452"),
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
    "partial_conv_block": Block(partial_conv_block, (24, 3, 2.0, 2), "Chen et al. 2023, arXiv:2303.03667"),
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
    "fused_inverted_bottleneck": Block(
        fused_inverted_bottleneck, (24, 3, 4.0, 2, "relu", "blurred_zeros"), "Qin et al. 2024, arXiv:2404.10518"
    ),
    "mobile_attention": Block(mobile_attention, (16, 2, 8, 2, 0.1), "Qin et al. 2024, arXiv:2404.10518"),
    "pooled_conv_bn_act": Block(pooled_conv_bn_act, (32,), "Qin et al. 2024, arXiv:2404.10518"),
}
"""Every block by name. The first argument of a block is the builder, the second its input."""
