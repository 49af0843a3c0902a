"""The table of primitive ops: one row holds the shape rule, the cost and the weights of an op."""

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

from search_spaces.errors import InvalidGraph
from search_spaces.graph import Attrs, Shape

Shapes = tuple[Shape, ...]


class Weight(NamedTuple):
    """A tensor of a weight entry. What does not train (running statistics, fixed tensors) is no parameter."""

    shape: Shape
    trainable: bool = True


class Op(NamedTuple):
    """A row of the table.

    ``shape(attrs, input_shapes)`` gives the output shape or raises ``InvalidGraph``;
    ``weights(attrs, input_shapes)`` the tensors of its entry; ``macs(attrs, input_shapes, shape)``
    its multiply-accumulates. ``in_place``: a runtime may write the output over the first input when
    nothing else reads that. ``commutative``: the order of the inputs does not matter.
    ``train_only``: the identity in eval mode, dropped by ``deploy``.
    """

    shape: Callable[[Attrs, Shapes], Shape]
    weights: Callable[[Attrs, Shapes], dict[str, Weight]] | None = None
    macs: Callable[[Attrs, Shapes, Shape], int] | None = None
    in_place: bool = False
    commutative: bool = False
    train_only: bool = False


def _same(attrs: Attrs, shapes: Shapes) -> Shape:
    return shapes[0]


def _equal(attrs: Attrs, shapes: Shapes) -> Shape:
    first = shapes[0]
    if any(shape != first for shape in shapes):
        raise InvalidGraph(f"the inputs of a sum have different shapes {list(shapes)}", hint="bring them to one shape")
    return first


def _broadcast(attrs: Attrs, shapes: Shapes) -> Shape:
    first = shapes[0]
    for shape in shapes[1:]:
        if len(shape) != len(first) or any(b not in (a, 1) for a, b in zip(first, shape, strict=True)):
            raise InvalidGraph(
                f"{shape} does not broadcast to {first}", hint="every axis equal to the first input's, or 1"
            )
    return first


def _window(attrs: Attrs, shape: Shape, dilation: tuple[int, ...]) -> Shape:
    kernel, stride, padding = attrs["kernel"], attrs["stride"], attrs["padding"]
    if len(shape) != len(kernel) + 1:
        raise InvalidGraph(
            f"a window of {len(kernel)} axes over an input of shape {shape}", hint="(channels, *spatial)"
        )
    size = tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
        ]
    )
    if min(size) < 1:
        raise InvalidGraph(
            f"a window {kernel} with padding {padding} does not fit an input of shape {shape}",
            hint="use a larger input or fewer strides",
        )
    return size


def _conv_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    groups, out_channels = attrs["groups"], attrs["out_channels"]
    if shape[0] % groups or out_channels % groups or out_channels < 1:
        raise InvalidGraph(
            f"{shape[0]} to {out_channels} channels in {groups} groups", hint="channels must be multiples of the groups"
        )
    return (out_channels, *_window(attrs, shape, attrs["dilation"]))


def _conv_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    out_channels = attrs["out_channels"]
    weights = {"weight": Weight((out_channels, shapes[0][0] // attrs["groups"], *attrs["kernel"]))}
    if attrs["bias"]:
        weights["bias"] = Weight((out_channels,))
    return weights


def _conv_macs(attrs: Attrs, shapes: Shapes, shape: Shape) -> int:
    macs: int = prod(shape) * (shapes[0][0] // attrs["groups"]) * prod(attrs["kernel"])
    return macs


def _linear_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    return (*shapes[0][:-1], attrs["out_features"])


def _linear_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    out_features = attrs["out_features"]
    weights = {"weight": Weight((out_features, shapes[0][-1]))}
    if attrs["bias"]:
        weights["bias"] = Weight((out_features,))
    return weights


def _linear_macs(attrs: Attrs, shapes: Shapes, shape: Shape) -> int:
    macs: int = prod(shapes[0]) * attrs["out_features"]
    return macs


def _batch_norm_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    channels = (shapes[0][0],)
    return {
        "weight": Weight(channels),
        "bias": Weight(channels),
        "running_mean": Weight(channels, trainable=False),
        "running_var": Weight(channels, trainable=False),
    }


def _concat_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise InvalidGraph(f"cannot concatenate the channels of {list(shapes)}", hint="spatial sizes must agree")
    return (sum([shape[0] for shape in shapes]), *shapes[0][1:])


def _pool_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    if any(2 * p > k for p, k in zip(attrs["padding"], attrs["kernel"], strict=True)):
        raise InvalidGraph(f"padding {attrs['padding']} of a pool {attrs['kernel']}", hint="at most half of the kernel")
    return (shape[0], *_window(attrs, shape, (1,) * len(attrs["kernel"])))


def _global_pool_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    return (shape[0], *(1,) * (len(shape) - 1))


def _flatten_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    return (prod(shapes[0]),)


def _zeros_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    shape: Shape = attrs["shape"]
    return shape


_ACTIVATION = Op(_same, in_place=True)

ACTIVATIONS: tuple[str, ...] = ("relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "silu", "gelu")

OPS: Mapping[str, Op] = {
    "conv": Op(_conv_shape, _conv_weights, _conv_macs),
    "linear": Op(_linear_shape, _linear_weights, _linear_macs),
    "batch_norm": Op(_same, _batch_norm_weights, in_place=True),
    "relu": _ACTIVATION,
    "relu6": _ACTIVATION,
    "hard_swish": _ACTIVATION,
    "hard_sigmoid": _ACTIVATION,
    "sigmoid": _ACTIVATION,
    "silu": _ACTIVATION,
    "gelu": _ACTIVATION,
    "add": Op(_equal, commutative=True),
    "mul": Op(_broadcast),
    "concat": Op(_concat_shape),
    "max_pool": Op(_pool_shape),
    "avg_pool": Op(_pool_shape),
    "global_avg_pool": Op(_global_pool_shape),
    "flatten": Op(_flatten_shape, in_place=True),
    "dropout": Op(_same, in_place=True, train_only=True),
    # A constant of zeros that follows the batch of its input: a cell whose output no path reaches.
    "zeros": Op(_zeros_shape),
}
"""Every primitive op by name. Readers (torch, ONNX, source) are dictionaries with the same keys."""
