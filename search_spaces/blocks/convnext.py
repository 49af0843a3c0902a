"""The blocks of ConvNeXt V1 and V2: a large depthwise convolution, a layer norm, a perceptron."""

from search_spaces.blocks.conv import dropped
from search_spaces.blocks.mlp import mlp
from search_spaces.blocks.patch import downsampled
from search_spaces.builder import Builder, Value


def convnext_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 7,
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "gelu",
    linear: bool = False,
    layer_scale: float = 1e-6,
    drop_path: float = 0.0,
) -> Value:
    """x + layer scale (MLP(norm(depthwise(x)))); Liu et al. 2022, section 2.6 and figure 4.

    Where the stride or the channels change, a norm and a convolution over patches of the size of the stride
    come first. ``linear`` makes the perceptron of linear layers (channels last) in place of pointwise
    convolutions, the same function; ``layer_scale`` is the first value of the factors, 0 leaves them out,
    ``drop_path`` the share of samples without the branch in training.
    """
    arguments = (out_channels, kernel, mlp_ratio, stride, activation, linear, layer_scale, drop_path)
    return _block(b, x, *arguments, response_norm=False)


def convnext_v2_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 7,
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "gelu",
    linear: bool = False,
    drop_path: float = 0.0,
) -> Value:
    """``convnext_block`` with global response normalisation in place of layer scale (Woo et al. 2023)."""
    arguments = (out_channels, kernel, mlp_ratio, stride, activation, linear, 0.0, drop_path)
    return _block(b, x, *arguments, response_norm=True)


def _block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int,
    mlp_ratio: float,
    stride: int,
    activation: str,
    linear: bool,
    layer_scale: float,
    drop_path: float,
    *,
    response_norm: bool,
) -> Value:
    x = downsampled(b, x, out_channels, stride, stride, norm_first=True)
    y = b.conv("depthwise.conv", x, out_channels, kernel, groups=out_channels, bias=True)
    if linear:
        y = b.op("channels_last", "transpose", y, axes=(1, 2, 0))
    y = b.layer_norm("norm", y, axis=-1 if linear else 0)
    y = b.block("mlp", mlp, y, mlp_ratio, activation, True, response_norm, linear)
    if linear:
        y = b.op("channels_first", "transpose", y, axes=(2, 0, 1))
    if layer_scale:
        y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, dropped(b, y, drop_path))
