"""Attention maps of groups of channels (Saini et al. 2020, ULSAM, arXiv:2006.15102)."""

from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def subspace_attention(b: Builder, x: Value, subspaces: int = 4) -> Value:
    """``subspaces`` groups of channels, each scaled by one plus an attention map of its own.

    Raises: InvalidGraph if the groups do not divide the channels. Source: Saini et al. 2020, section 3.
    """
    channels = x.shape[0]
    if channels % subspaces:
        raise InvalidGraph(f"{channels} channels in {subspaces} subspaces", hint="the subspaces must divide them")
    if subspaces == 1:
        return b.block("subspace", subspace, x)  # type: ignore[no-any-return]
    size = channels // subspaces
    parts = [b.slice(f"part{i}", x, i * size, (i + 1) * size) for i in range(subspaces)]
    return b.op("concat", "concat", *[b.block(f"subspace{i}", subspace, part) for i, part in enumerate(parts)])


def subspace(b: Builder, x: Value) -> Value:
    """x + x a with a map a that sums to one over the positions: the softmax of a pointwise mix of local maxima."""
    channels, height, width = x.shape
    y = b.conv("depthwise", x, channels, 1, groups=channels, bias=True)
    y = b.op("depthwise_relu", "relu", b.batch_norm("depthwise_bn", y, momentum=0.9))
    y = b.pool("max_pool", "max_pool", y, 3, 1, 1)
    y = b.conv("pointwise", y, 1, 1, bias=True)
    y = b.op("pointwise_relu", "relu", b.batch_norm("pointwise_bn", y, momentum=0.9))
    y = b.op("positions", "reshape", y, shape=(1, height * width))
    y = b.op("softmax", "softmax", y, axis=-1)
    y = b.op("map", "reshape", y, shape=(1, height, width))
    return b.op("add", "add", b.op("mul", "mul", x, y), x)
