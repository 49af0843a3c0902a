"""The vocabulary: one function on the builder a block, one line each in ``BLOCKS``."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from search_spaces.blocks.conv import conv_bn_act, depthwise_separable
from search_spaces.blocks.inverted_residual import inverted_residual
from search_spaces.blocks.residual import bottleneck_residual, reduction_residual, relu_conv_bn, resnet_stem
from search_spaces.blocks.squeeze_excite import effective_squeeze_excite, efficient_channel_attention, squeeze_excite
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
    "bottleneck_residual": Block(bottleneck_residual, (64, 3, 2, 4, "relu"), "He et al. 2016, arXiv:1512.03385"),
    "resnet_stem": Block(resnet_stem, (16, 7, 2, "relu"), "He et al. 2016, arXiv:1512.03385"),
    "reduction_residual": Block(reduction_residual, (32,), "Dong and Yang 2020, arXiv:2001.00326"),
    "relu_conv_bn": Block(relu_conv_bn, (16, 3, 1), "Dong and Yang 2020, arXiv:2001.00326"),
    "effective_squeeze_excite": Block(effective_squeeze_excite, (), "Lee and Park 2020, arXiv:1911.06667"),
    "efficient_channel_attention": Block(efficient_channel_attention, (), "Wang et al. 2020, arXiv:1910.03151"),
    "squeeze_excite": Block(squeeze_excite, (4, "relu", "sigmoid"), "Hu et al. 2018, arXiv:1709.01507"),
}
"""Every block by name. The first argument of a block is the builder, the second its input."""
