"""Rules of ``deploy``: norms and factors become part of the layers beside them, learned positions are frozen."""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.affine import Below, Expression, Layer, Multiplied, Normed, Prenormed, Scaled, Shifted, Spaced
from search_spaces.draft import Sight, Step
from search_spaces.graph import Graph, Item

Change = Callable[[Expression], Expression]


def freeze_positions(step: Step, sight: Sight) -> tuple[Step, ...]:
    """A convolution with learned positions becomes a plain one."""
    item = step.item
    attrs = {name: value for name, value in item.attrs.items() if name != "taps"} | {"dilation": (1, 1)}
    recipe = Spaced(item.weights, attrs["bias"], attrs["kernel"])
    return (Step(item._replace(op="conv", attrs=attrs), step.makes, {item.weights: recipe}),)


def freeze_shift(step: Step, sight: Sight) -> tuple[Step, ...]:
    """A learned shift becomes a depthwise convolution with one tap of 1 a channel, at the rounded displacement.

    Runtimes have no shift, and a depthwise convolution costs them less than a gather.
    """
    item = step.item
    reach, channels = item.attrs["reach"], item.shapes[0][0]
    window = (2 * reach + 1,) * 2
    ones = (1, 1)
    attrs = {"out_channels": channels, "kernel": window, "stride": ones, "padding": (reach, reach), "dilation": ones}
    item = item._replace(op="conv", attrs={**attrs, "groups": channels, "bias": False})
    return (Step(item, step.makes, {item.weights: Shifted(item.weights, window)}),)


def fold_norm(step: Step, sight: Sight) -> tuple[Step, ...] | None:
    """A batch norm behind a convolution or linear layer becomes part of it."""
    entry, eps = step.item.weights, step.item.attrs["eps"]
    return _fold(step, 0, lambda layer: Normed(layer, entry, eps), sight, bias=True)


def fold_scale(step: Step, sight: Sight) -> tuple[Step, ...] | None:
    """A factor a channel behind a convolution or linear layer becomes part of it."""
    entry = step.item.weights
    axis = step.item.attrs["axis"] % len(step.item.shapes[0])
    return _fold(step, axis, lambda layer: Scaled(layer, entry), sight)


def fold_factor(step: Step, sight: Sight) -> tuple[Step, ...] | None:
    """A fixed factor behind a convolution or linear layer becomes part of it."""
    before = sight.private(step.item.inputs[0], "conv", "linear")
    if before is None:
        return None
    return (before.as_layer(step.makes, Multiplied(before.expression, step.item.attrs["factor"])),)


def absorb_norm(step: Step, sight: Sight) -> tuple[Step, ...] | None:
    """A batch norm before a layer that does not pad becomes part of it."""
    item, norm = step.item, sight.private(step.item.inputs[0], "batch_norm")
    if norm is None or not sight.owns(item) or any(item.attrs.get("padding", ())):
        return None
    if item.op == "linear" and len(item.shapes[0]) > 1:  # the norm is over the first axis
        return None
    recipe = Prenormed(step.expression, norm.item.weights, norm.item.attrs["eps"], item.attrs.get("groups", 1))
    step = step._replace(item=item._replace(inputs=norm.item.inputs))
    return (step.as_layer(step.makes, recipe, bias=True),)


def _fold(step: Step, axis: int, change: Change, sight: Sight, *, bias: bool = False) -> tuple[Step, ...] | None:
    """Changes the layer behind a step whose axis ``axis`` is that of the layer's channels, and drops the step.

    The layer is seen through transposes, and at the end of a block that is called. ``bias``: it needs one.
    """
    (value,) = step.item.inputs
    moves: list[Step] = []
    while move := sight.private(value, "transpose"):
        axis = move.item.attrs["axes"][axis]
        (value,) = move.item.inputs
        moves.insert(0, move)
    if not sight.owns(step.item):
        return None
    makes = (value,) if moves else step.makes
    layer: Step | None = None
    if (before := sight.private(value, "conv", "linear")) and axis == _channel_axis(before.item):
        layer = before.as_layer(makes, change(before.expression), bias=bias or before.item.attrs["bias"])
    elif call := sight.private_call(value):
        layer = _fold_inside(call, makes, axis, change, bias)
    if layer is None:
        return None
    return (layer, *moves[:-1], moves[-1]._replace(makes=step.makes)) if moves else (layer,)


def _fold_inside(call: Step, makes: tuple[int, ...], axis: int, change: Change, bias: bool) -> Step | None:
    """Changes the weights of the layer that makes the only output of a block; the block's graph stays as it is."""
    block = call.item.op
    assert isinstance(block, Graph)
    last = block.items[-1]
    if len(block.outputs) != 1 or block.outputs[0] != len(block.value_shapes) - 1:
        return None
    if last.op not in ("conv", "linear") or axis != _channel_axis(last) or (bias and not last.attrs["bias"]):
        return None
    if sum(item.weights == last.weights for item in block.items) > 1:
        return None
    entry = f"{call.item.weights}.{last.weights}"
    inside = Below(f"{call.item.weights}.", call.inner.get(last.weights) or Layer(last.weights, last.attrs["bias"]))
    return call._replace(makes=makes, recipes={entry: change(call.recipes.get(entry, inside))})


def _channel_axis(layer: Item) -> int:
    return 0 if layer.op == "conv" else len(layer.shapes[0]) - 1
