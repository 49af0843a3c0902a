"""Inception cells: branches of convolutions side by side, and the stems in front of them."""

from search_spaces.blocks.conv import conv_bn
from search_spaces.blocks.inception_cells import CELLS, COLUMN, ROW, Cell, Step
from search_spaces.builder import Builder, Value
from search_spaces.errors import InvalidGraph


def inception(
    b: Builder,
    x: Value,
    out_channels: int,
    cell: str,
    stride: int = 1,
    padding: str = "symmetric",
    activation: str = "relu",
    eps: float = 1e-3,
) -> Value:
    """The branches of ``cell`` (of ``CELLS``) side by side, joined to ``out_channels`` (Szegedy et al. 2016 and 2017).

    The last step of each branch has the stride and the ``padding``. A max pool keeps the channels of the input; the
    convolutions share the rest as at the published widths. Raises: InvalidGraph if nothing is left to share.
    """
    return b.op("concat", "concat", *branches(b, x, out_channels, CELLS[cell], stride, padding, activation, eps))


def branches(
    b: Builder, x: Value, out_channels: int, cell: Cell, stride: int, padding: str, activation: str, eps: float
) -> list[Value]:
    """The ends of the branches of a cell, ``out_channels`` in all: a part of a block, not a block."""
    ends = [branch[-1].width * (1 + branch[-1].fork) for branch in cell]
    shared = out_channels - x.shape[0] * ends.count(0)
    if shared < 1:
        raise InvalidGraph(f"{out_channels} channels for a cell that pools {x.shape[0]}", hint="widen the cell")
    unit = shared / sum(ends)
    granule = 8 if shared >= 128 else 1
    values, done = [], 0
    for i, branch in enumerate(cell, 1):
        # rounding the sums rather than the widths keeps every branch near its share
        end = _multiple(sum(ends[:i]) * unit, granule) if sum(ends[:i]) < sum(ends) else shared
        widths = [*(_multiple(step.width * unit, granule) for step in branch[:-1]), end - done]
        done = end if ends[i - 1] else done
        y = x
        for k, (step, width) in enumerate(zip(branch, widths, strict=True), 1):
            own, pads = (stride, padding) if k == len(branch) else (1, "symmetric")
            y = _step(b, f"branch{i}.step{k}", y, step, width, own, pads, activation, eps)
        values.append(y)
    return values


def _multiple(channels: float, granule: int) -> int:
    return max(granule, round(channels / granule) * granule)


def _step(
    b: Builder, name: str, x: Value, step: Step, width: int, stride: int, padding: str, activation: str, eps: float
) -> Value:
    if step.pool:
        return b.pool(f"{name}.pool", step.pool, x, 3, stride, 0 if padding == "valid" else 1)
    if not step.fork:
        return conv_bn(b, name, x, width, step.kernel, stride, activation=activation, padding=padding, eps=eps)
    row = conv_bn(b, f"{name}.row", x, width // 2, ROW, stride, activation=activation, eps=eps)
    column = conv_bn(b, f"{name}.column", x, width - width // 2, COLUMN, stride, activation=activation, eps=eps)
    return b.op(f"{name}.concat", "concat", row, column)


def inception_v3_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 8,
    padding: str = "valid",
    activation: str = "relu",
    eps: float = 1e-3,
) -> Value:
    """Five convolutions and two 3 x 3 max pools of stride 2 (Szegedy et al. 2016, arXiv:1512.00567, table 1).

    192 channels as published, the others in proportion. A ``stride`` below 8 leaves out the first strides.
    """
    first, second, third = _strides(stride)
    x = _opening(b, x, out_channels / 192, first, padding, activation, eps)
    x = _max_pool(b, "pool1", x, second, padding)
    x = conv_bn(b, "conv4", x, round(out_channels * 80 / 192), 1, activation=activation, eps=eps)
    x = conv_bn(b, "conv5", x, out_channels, 3, activation=activation, padding=padding, eps=eps)
    return _max_pool(b, "pool2", x, third, padding)


def inception_v4_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 8,
    padding: str = "valid",
    activation: str = "relu",
    eps: float = 1e-3,
) -> Value:
    """Three convolutions and three small cells (Szegedy et al. 2017, arXiv:1602.07261, figure 3).

    384 channels as published, the others in proportion. A ``stride`` below 8 leaves out the first strides.
    """
    first, second, third = _strides(stride)
    x = _opening(b, x, out_channels / 384, first, padding, activation, eps)
    half = out_channels // 2
    cells = (("v4_stem_a", round(out_channels * 160 / 384), second), ("v4_stem_b", half, 1))
    for cell, width, own in (*cells, ("v4_stem_c", out_channels, third)):
        x = b.block(cell, inception, x, width, cell, own, padding, activation, eps)
    return x


def inception_resnet_stem(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 8,
    padding: str = "valid",
    activation: str = "relu",
    eps: float = 1e-3,
) -> Value:
    """The stem of Inception-v3 and a cell of 320 channels, as in the authors' code of Inception-ResNet-v2.

    Source: Szegedy et al. 2017, arXiv:1602.07261, section 3.2; arguments as in ``inception_v3_stem``.
    """
    x = b.block("v3_stem", inception_v3_stem, x, round(out_channels * 192 / 320), stride, padding, activation, eps)
    x = b.block("cell", inception, x, out_channels, "resnet_stem", 1, "symmetric", activation, eps)
    return x


def _strides(stride: int) -> tuple[int, int, int]:
    """The three places of a stride of 1, 2, 4 or 8, the last one first."""
    return 1 + (stride > 4), 1 + (stride > 2), 1 + (stride > 1)


def _opening(b: Builder, x: Value, unit: float, stride: int, padding: str, activation: str, eps: float) -> Value:
    narrow, wide = max(1, round(32 * unit)), max(1, round(64 * unit))
    x = conv_bn(b, "conv1", x, narrow, 3, stride, activation=activation, padding=padding, eps=eps)
    x = conv_bn(b, "conv2", x, narrow, 3, activation=activation, padding=padding, eps=eps)
    return conv_bn(b, "conv3", x, wide, 3, activation=activation, eps=eps)


def _max_pool(b: Builder, name: str, x: Value, stride: int, padding: str) -> Value:
    return b.pool(name, "max_pool", x, 3, stride, 0 if padding == "valid" else 1)
