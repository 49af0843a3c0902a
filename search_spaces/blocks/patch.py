"""Strided convolutions with bias that enter and divide networks of normalised blocks: stems, downsampling."""

from search_spaces.blocks.conv import activate
from search_spaces.blocks.norm import NORMS
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible


def patch_embedding(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 4,
    stride: int = 4,
    norm: str = "layer",
    norm_first: bool = False,
    eps: float = 1e-6,
) -> Value:
    """A convolution over patches and a norm after it, or before it if ``norm_first``.

    Patches of the size of the stride tile the input; larger ones overlap, with the padding that divides the
    size by the stride. Source: Liu et al. 2022, arXiv:2201.03545, sections 2.2 and 2.6.
    """
    if norm_first:
        x = NORMS[norm](b, "norm", x, eps)
    padding = max(0, (kernel - stride + 1) // 2)
    x = b.conv("conv", x, out_channels, kernel, stride, bias=True, padding=(padding,) * (len(x.shape) - 1))
    return x if norm_first else NORMS[norm](b, "norm", x, eps)


def conv_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 4,
    tiered: bool = True,
    mid_norm: bool = False,
    activation: str = "none",
    eps: float = 1e-6,
) -> Value:
    """Two 3 x 3 convolutions that share a stride of up to 4, a layer norm after the second.

    ``tiered``: the first has half of the channels. ``mid_norm`` and ``activation`` stand between the two.
    Source: Xiao et al. 2021, "Early convolutions help transformers see better", arXiv:2106.14881, section 3.
    """
    first = min(stride, 2)
    middle = make_divisible(out_channels // 2) if tiered else out_channels
    x = b.conv("first.conv", x, middle, 3, first, bias=True)
    if mid_norm:
        x = b.layer_norm("first.norm", x, eps=eps)
    x = activate(b, "first", x, activation)
    x = b.conv("second.conv", x, out_channels, 3, stride // first, bias=True)
    return b.layer_norm("second.norm", x, eps=eps)


def downsampled(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    stride: int,
    norm: str = "layer",
    norm_first: bool = False,
    eps: float = 1e-6,
) -> Value:
    """``x`` after a patch embedding called ``downsample``, or as it is where that would not change its shape."""
    if stride == 1 and x.shape[0] == out_channels:
        return x
    value: Value = b.block("downsample", patch_embedding, x, out_channels, kernel, stride, norm, norm_first, eps)
    return value
