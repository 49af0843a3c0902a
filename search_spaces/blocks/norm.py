"""Normalisation by name, as an argument of blocks."""

from collections.abc import Callable, Mapping

from search_spaces.builder import Builder, Value


def batch_norm(b: Builder, name: str, x: Value, eps: float) -> Value:
    """Ioffe and Szegedy 2015, arXiv:1502.03167."""
    return b.batch_norm(f"{name}.bn", x, eps)


def layer_norm(b: Builder, name: str, x: Value, eps: float) -> Value:
    """Over the channels of each position (Ba et al. 2016, arXiv:1607.06450)."""
    return b.layer_norm(f"{name}.ln", x, eps=eps)


def layer_norm_no_bias(b: Builder, name: str, x: Value, eps: float) -> Value:
    """Layer norm with a weight alone (Yu et al. 2022, arXiv:2210.13452, section 2)."""
    return b.layer_norm(f"{name}.ln", x, eps=eps, bias=False)


def instance_norm(b: Builder, name: str, x: Value, eps: float) -> Value:
    """Over the positions of each channel (Ulyanov et al. 2016, arXiv:1607.08022)."""
    return b.op(f"{name}.instance_norm", "instance_norm", x, eps=eps)


def group_norm(b: Builder, name: str, x: Value, eps: float) -> Value:
    """Over the positions and channels of each of 32 groups of channels (Wu and He 2018, arXiv:1803.08494)."""
    return b.op(f"{name}.group_norm", "group_norm", x, groups=32, eps=eps, bias=True)


def ibn_a(b: Builder, name: str, x: Value, eps: float) -> Value:
    """Instance norm on the first half of the channels, batch norm on the rest (Pan et al. 2018, arXiv:1807.09441)."""
    half = x.shape[0] // 2
    first = b.op(f"{name}.ibn.instance_norm", "instance_norm", b.slice(f"{name}.ibn.first", x, 0, half), eps=eps)
    second = b.batch_norm(f"{name}.ibn.bn", b.slice(f"{name}.ibn.second", x, half, x.shape[0]), eps)
    return b.op(f"{name}.ibn.concat", "concat", first, second)


def no_norm(b: Builder, name: str, x: Value, eps: float) -> Value:
    """The input as it is."""
    return x


NORMS: Mapping[str, Callable[[Builder, str, Value, float], Value]] = {
    "none": no_norm,
    "batch": batch_norm,
    "layer": layer_norm,
    "layer_no_bias": layer_norm_no_bias,
    "instance": instance_norm,
    "group": group_norm,
    "ibn_a": ibn_a,
}
"""Every norm that a block can be told to use; each appends below the name that it is given."""
