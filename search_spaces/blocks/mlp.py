"""The two-layer perceptron of each position, and the heads that end in front of the last layer."""

from search_spaces.blocks.conv import activate
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph
from search_spaces.task import pooled


def mlp(
    b: Builder,
    x: Value,
    mlp_ratio: float = 4.0,
    activation: str = "gelu",
    bias: bool = True,
    response_norm: bool = False,
    linear: bool = False,
) -> Value:
    """Two layers over the channels of each position, ``mlp_ratio`` times as many channels between them.

    ``linear``: linear layers, the channels last; otherwise pointwise convolutions, the channels first.
    ``response_norm``: global response normalisation after the activation (Woo et al. 2023, arXiv:2301.00808).
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3.
    """
    axis = -1 if linear else 0
    channels = x.shape[axis]
    x = _layer(b, "expand", x, int(channels * mlp_ratio), bias, linear)
    x = activate(b, "expand", x, activation)
    if response_norm:
        x = b.op("response_norm", "response_norm", x, axis=axis, eps=1e-6)
    return _layer(b, "project", x, channels, bias, linear)


def _layer(b: Builder, name: str, x: Value, out_channels: int, bias: bool, linear: bool) -> Value:
    if linear:
        return b.linear(f"{name}.linear", x, out_channels, bias)
    return b.conv(f"{name}.conv", x, out_channels, 1, bias=bias)


def pooled_head(
    b: Builder,
    x: Value,
    norm_place: str = "after",
    mlp_ratio: float = 0.0,
    activation: str = "gelu",
    inner_norm: bool = False,
    eps: float = 1e-6,
) -> Value:
    """(channels, height, width) to a vector of features: pooling, a layer norm, a hidden layer.

    ``norm_place``: the norm stands "before" or "after" the pooling, or "none". ``mlp_ratio`` above 0 adds a
    hidden layer that many times as wide, with its activation and, if ``inner_norm``, a layer norm after it.
    Sources: Liu et al. 2022, arXiv:2201.03545, section 2.6; Yu et al. 2022, arXiv:2210.13452.
    """
    if norm_place not in ("before", "after", "none"):
        raise InvalidGraph(f"the norm of a head cannot stand {norm_place!r}", hint='"before", "after" or "none"')
    if norm_place == "before":
        x = b.layer_norm("norm", x, eps=eps)
    x = pooled(b, x)
    if norm_place == "after":
        x = b.layer_norm("norm", x, eps=eps)
    if mlp_ratio:
        x = activate(b, "hidden", b.linear("hidden.linear", x, int(x.shape[0] * mlp_ratio)), activation)
        if inner_norm:
            x = b.layer_norm("hidden.norm", x, eps=eps)
    return x
