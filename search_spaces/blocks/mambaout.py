"""The gated convolution block of MambaOut: a Mamba block without its state space model."""

from search_spaces.blocks.conv import activate
from search_spaces.blocks.patch import downsampled
from search_spaces.builder import Builder, Value


def gated_cnn_block(
    b: Builder,
    x: Value,
    out_channels: int,
    kernel: int = 7,
    expand: float = 8 / 3,
    ratio: float = 1.0,
    stride: int = 1,
    activation: str = "gelu",
    norm_first: bool = False,
    layer_scale: float = 0.0,
) -> Value:
    """x + linear(activation(g) * [i, depthwise(c)]) where g, i, c = linear(norm(x)).

    g is ``expand`` times as wide as x, i and c together too; c, which the convolution sees, is ``ratio`` times as
    wide as x, at most all of them. Where the stride or the channels change, a 3 x 3 convolution comes first, with
    its norm after it, or before it if ``norm_first``. ``layer_scale`` is the first value of factors of the branch,
    0 leaves them out. Source: Yu and Wang 2024, arXiv:2405.07992.
    """
    x = downsampled(b, x, out_channels, 3, stride, norm_first=norm_first)
    hidden = int(expand * out_channels)
    convolved = min(hidden, int(ratio * out_channels))
    y = b.op("channels_last", "transpose", x, axes=(1, 2, 0))
    y = b.layer_norm("norm", y, axis=-1)
    y = b.linear("expand.linear", y, 2 * hidden)
    gate = activate(b, "gate", b.slice("gate.slice", y, 0, hidden, axis=-1), activation)
    values = b.slice("depthwise.slice", y, 2 * hidden - convolved, 2 * hidden, axis=-1)
    values = b.op("depthwise.channels_first", "transpose", values, axes=(2, 0, 1))
    values = b.conv("depthwise.conv", values, convolved, kernel, groups=convolved, bias=True)
    values = b.op("depthwise.channels_last", "transpose", values, axes=(1, 2, 0))
    if convolved < hidden:
        passed = b.slice("identity", y, hidden, 2 * hidden - convolved, axis=-1)
        values = b.op("concat", "concat", passed, values, axis=-1)
    y = b.linear("project.linear", b.op("mul", "mul", gate, values), out_channels)
    y = b.op("channels_first", "transpose", y, axes=(2, 0, 1))
    if layer_scale:
        y = b.op("layer_scale", "scale", y, axis=0, init=layer_scale)
    return b.op("add", "add", x, y)
