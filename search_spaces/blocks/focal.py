"""Focal modulation: contexts of growing size, gated and summed, modulate each position."""

from search_spaces.blocks.mlp import mlp
from search_spaces.blocks.patch import downsampled
from search_spaces.builder import Builder, Value


def focal_modulation(b: Builder, x: Value, levels: int = 2, window: int = 3) -> Value:
    """linear(q * linear(sum of gate_l * context_l)) with q, context_0 and the gates from one projection of x.

    Context l is the GELU of a depthwise convolution of context l - 1 with a kernel of ``window`` + 2 (l - 1);
    the last one is the GELU of the mean of context ``levels``. Source: Yang et al. 2022, section 3.
    """
    channels = x.shape[0]
    y = b.conv("project", x, 2 * channels + levels + 1, 1, bias=True)
    query = b.slice("query", y, 0, channels)
    context = b.slice("context", y, channels, 2 * channels)
    gates = [b.slice(f"gate{i}", y, 2 * channels + i, 2 * channels + i + 1) for i in range(levels + 1)]
    gated = []
    for level in range(levels):
        name = f"level{level}"
        context = b.conv(f"{name}.conv", context, channels, window + 2 * level, groups=channels)
        context = b.op(f"{name}.gelu", "gelu", context)
        gated.append(b.op(f"{name}.gated", "mul", context, gates[level]))
    context = b.op("whole.gelu", "gelu", b.op("whole.pool", "global_avg_pool", context))
    gated.append(b.op("whole.gated", "mul_broadcast", context, gates[levels]))
    modulator = b.conv("modulator", b.op("sum", "add", *gated), channels, 1, bias=True)
    return b.conv("out", b.op("modulated", "mul", query, modulator), channels, 1, bias=True)


def focal_block(
    b: Builder,
    x: Value,
    out_channels: int,
    levels: int = 2,
    window: int = 3,
    mlp_ratio: float = 4.0,
    stride: int = 1,
    activation: str = "gelu",
) -> Value:
    """x + modulation(norm(x)), then x + MLP(norm(x)); Yang et al. 2022, section 3.

    Where the stride or the channels change, a convolution over patches of the size of the stride, and its norm,
    come first.
    """
    x = downsampled(b, x, out_channels, stride, stride, eps=1e-5)
    y = b.layer_norm("modulation_norm", x, eps=1e-5)
    x = b.op("modulation_add", "add", x, b.block("modulation", focal_modulation, y, levels, window))
    y = b.layer_norm("mlp_norm", x, eps=1e-5)
    return b.op("mlp_add", "add", x, b.block("mlp", mlp, y, mlp_ratio, activation))
