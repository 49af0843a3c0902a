"""The table of primitive ops: one row holds the shape rule, the cost and the weights of an op."""

from collections.abc import Callable, Mapping
from math import comb, prod
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
    its multiply-accumulates, ``matmul_macs`` those between two activations. ``in_place``: a runtime may
    write the output over the first input when nothing else reads that. ``commutative``: the order of the
    inputs does not matter. ``train_only``: the identity in eval mode, dropped by ``deploy``.
    """

    shape: Callable[[Attrs, Shapes], Shape]
    weights: Callable[[Attrs, Shapes], dict[str, Weight]] | None = None
    macs: Callable[[Attrs, Shapes, Shape], int] | None = None
    matmul_macs: Callable[[Attrs, Shapes, Shape], int] | None = None
    in_place: bool = False
    commutative: bool = False
    train_only: bool = False


def _same(attrs: Attrs, shapes: Shapes) -> Shape:
    return shapes[0]


def _equal(attrs: Attrs, shapes: Shapes) -> Shape:
    first = shapes[0]
    if shapes.count(first) != len(shapes):
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


def _window(attrs: Attrs, shape: Shape, dilation: tuple[int, ...], ceil_mode: bool = False) -> Shape:
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
    if ceil_mode:  # one more window where some input is left over and the window starts inside of it
        size = tuple(
            [
                m + ((n + 2 * p - k) % s != 0 and m * s < n + p)
                for m, n, k, s, p in zip(size, shape[1:], kernel, stride, padding, strict=True)
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
    affine = Weight((shapes[0][0],))
    statistic = Weight(affine.shape, trainable=False)
    return {"weight": affine, "bias": affine, "running_mean": statistic, "running_var": statistic}


def _concat_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    first = shapes[0]
    axis = _axis(attrs.get("axis", 0), first)
    others = [shape[:axis] + shape[axis + 1 :] for shape in shapes]
    if others.count(others[0]) != len(others):
        raise InvalidGraph(f"cannot concatenate axis {axis} of {list(shapes)}", hint="all other axes must agree")
    return (*first[:axis], sum([shape[axis] for shape in shapes]), *first[axis + 1 :])


def _pool_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    if any(2 * p > k for p, k in zip(attrs["padding"], attrs["kernel"], strict=True)):
        raise InvalidGraph(f"padding {attrs['padding']} of a pool {attrs['kernel']}", hint="at most half of the kernel")
    return (shape[0], *_window(attrs, shape, (1,) * len(attrs["kernel"]), attrs.get("ceil_mode", False)))


def _blur_pool_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    kernel, size = attrs["kernel"], shape[1:]
    if len(kernel) != len(size) or (attrs["reflect"] and any(k // 2 >= n for k, n in zip(kernel, size, strict=True))):
        raise InvalidGraph(f"a reflected blur {kernel} of an input of shape {shape}", hint="use a larger input")
    return (shape[0], *[(n - 1) // s + 1 for n, s in zip(size, attrs["stride"], strict=True)])


def _polyphase_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    shape, guide = shapes[0], shapes[-1]
    if len(shape) < 2 or guide[1:] != shape[1:]:
        raise InvalidGraph(f"polyphase components of {shape} by {guide}", hint="(channels, *spatial) of one size")
    return (shape[0], *[(n + 1) // 2 for n in shape[1:]])


def _global_pool_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    return (shape[0], *(1,) * (len(shape) - 1))


def _flatten_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    return (prod(shapes[0]),)


def _axis(axis: int, shape: Shape) -> int:
    """An axis as an index from the front, the batch apart."""
    if not -len(shape) <= axis < len(shape):
        raise InvalidGraph(f"axis {axis} of shape {shape}", hint="axes count from 0, the batch apart, or from -1")
    return axis % len(shape)


def _along_axis(attrs: Attrs, shapes: Shapes) -> Shape:
    _axis(attrs["axis"], shapes[0])
    return shapes[0]


def _affine(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    """A weight, and a bias where ``attrs["bias"]``, along ``attrs["axis"]`` (default: the channels first)."""
    size = (shapes[0][attrs.get("axis", 0)],)
    return {"weight": Weight(size), "bias": Weight(size)} if attrs.get("bias", True) else {"weight": Weight(size)}


def _group_norm_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    if shapes[0][0] % attrs["groups"]:
        raise InvalidGraph(f"{shapes[0][0]} channels in {attrs['groups']} groups", hint="the groups must divide them")
    return shapes[0]


def _scale_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    return {"weight": Weight((shapes[0][attrs["axis"]],))}


def _star_relu_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    return {"scale": Weight((1,)), "bias": Weight((1,))}


def _parameter_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    shape: Shape = attrs["shape"]
    return shape


def _parameter_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    return {"value": Weight(attrs["shape"], attrs["trainable"])}


def _reshape_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    shape: Shape = attrs["shape"]
    if prod(shape) != prod(shapes[0]):
        raise InvalidGraph(f"{shapes[0]} has not as many elements as {shape}", hint="a reshape keeps every element")
    return shape


def _transpose_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    axes = attrs["axes"]
    if sorted(axes) != list(range(len(shapes[0]))):
        raise InvalidGraph(f"axes {axes} of shape {shapes[0]}", hint="every axis once, from 0, the batch apart")
    return tuple([shapes[0][axis] for axis in axes])


def _slice_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    axis, start, stop = _axis(attrs["axis"], shape), attrs["start"], attrs["stop"]
    if not 0 <= start < stop <= shape[axis]:
        raise InvalidGraph(f"slice {start} to {stop} of axis {axis} of shape {shape}", hint="0 <= start < stop <= size")
    return (*shape[:axis], stop - start, *shape[axis + 1 :])


def _gather_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    axis, indices = _axis(attrs["axis"], shape), attrs["indices"]
    if not indices or min(indices) < 0 or max(indices) >= shape[axis]:
        raise InvalidGraph(f"indices outside of axis {axis} of shape {shape}", hint=f"0 to {shape[axis] - 1}")
    return (*shape[:axis], len(indices), *shape[axis + 1 :])


def _pad_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    (shape,) = shapes
    before, after = attrs["before"], attrs["after"]
    if not len(before) == len(after) == len(shape) - 1:
        raise InvalidGraph(f"padding {before}, {after} of shape {shape}", hint="one entry a spatial axis")
    size = tuple([n + p + q for n, p, q in zip(shape[1:], before, after, strict=True)])
    if min(size) < 1:
        raise InvalidGraph(f"padding {before}, {after} crops all of shape {shape}", hint="leave one position")
    return (shape[0], *size)


def _resize_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    if len(attrs["size"]) != len(shapes[0]) - 1:
        raise InvalidGraph(f"size {attrs['size']} for shape {shapes[0]}", hint="one entry a spatial axis")
    return (shapes[0][0], *attrs["size"])


def _reduce_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    axis = _axis(attrs["axis"], shapes[0])
    return (*shapes[0][:axis], 1, *shapes[0][axis + 1 :])


def _both(attrs: Attrs, shapes: Shapes) -> Shape:
    """Two tensors broadcast to each other."""
    a, b = shapes
    if len(a) != len(b) or any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        raise InvalidGraph(f"{a} and {b} do not broadcast", hint="every axis equal, or 1 in one of them")
    return tuple([max(m, n) for m, n in zip(a, b, strict=True)])


def _matmul_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    a, b = shapes
    inner, columns = (b[-1], b[-2]) if attrs["transpose_b"] else (b[-2], b[-1])
    if len(a) < 2 or len(a) != len(b) or a[-1] != inner:
        raise InvalidGraph(f"a product of shapes {a} and {b}", hint="(..., n, k) and (..., k, m); see transpose_b")
    return (*_both(attrs, (a[:-2], b[:-2])), a[-2], columns)


def _matmul_macs(attrs: Attrs, shapes: Shapes, shape: Shape) -> int:
    macs: int = prod(shape) * shapes[0][-1]
    return macs


def _spaced_conv_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    if len(shapes[0]) != 3 or any(k % 2 == 0 for k in attrs["kernel"]):
        raise InvalidGraph(f"taps with positions in a window {attrs['kernel']}", hint="two spatial axes, odd windows")
    return _conv_shape({**attrs, "dilation": (1, 1)}, shapes)


def _spaced_conv_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    out_channels = attrs["out_channels"]
    taps = (out_channels, shapes[0][0] // attrs["groups"], attrs["taps"])
    weights = {"weight": Weight(taps), "position": Weight((2, *taps))}
    if attrs["bias"]:
        weights["bias"] = Weight((out_channels,))
    return weights


def _sparse_shift_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    if len(shapes[0]) != 3:
        raise InvalidGraph(f"a shift of shape {shapes[0]}", hint="(channels, height, width)")
    return shapes[0]


def _sparse_shift_weights(attrs: Attrs, shapes: Shapes) -> dict[str, Weight]:
    return {"displacement": Weight((2, shapes[0][0]))}


def _dynamic_conv_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    shape, weights = shapes
    size = prod(attrs["kernel"])
    if len(shape) != 3 or any(k % 2 == 0 for k in attrs["kernel"]):
        raise InvalidGraph(f"a window {attrs['kernel']} over {shape}", hint="two spatial axes, odd windows")
    if weights[1:] != shape[1:] or weights[0] % size or shape[0] * size % weights[0]:
        raise InvalidGraph(f"weights {weights} for {shape}", hint="a window for each position and group of channels")
    return shape


def _dynamic_conv_macs(attrs: Attrs, shapes: Shapes, shape: Shape) -> int:
    macs: int = prod(shape) * prod(attrs["kernel"])
    return macs


def _zeros_shape(attrs: Attrs, shapes: Shapes) -> Shape:
    shape: Shape = attrs["shape"]
    return shape


_ACTIVATION = Op(_same, in_place=True)

ACTIVATIONS: tuple[str, ...] = (
    *("relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "silu", "gelu", "tanh", "squared_relu", "star_relu"),
)


def binomial(taps: int) -> tuple[float, ...]:
    """The weights of a blur: row ``taps - 1`` of Pascal's triangle, with the sum 1."""
    return tuple([comb(taps - 1, i) / 2 ** (taps - 1) for i in range(taps)])


OPS: Mapping[str, Op] = {
    # layers
    "conv": Op(_conv_shape, _conv_weights, _conv_macs),
    "linear": Op(_linear_shape, _linear_weights, _linear_macs),  # over the last axis
    # norms; ``axis`` is 0 (channels first) or -1
    "batch_norm": Op(_same, _batch_norm_weights, in_place=True),
    "layer_norm": Op(_along_axis, _affine, in_place=True),  # over the channels of each position: axis, eps, bias
    "group_norm": Op(_group_norm_shape, _affine, in_place=True),  # groups, eps, bias
    "instance_norm": Op(_same, _affine, in_place=True),  # eps
    "response_norm": Op(_along_axis, _affine, in_place=True),  # GRN of ConvNeXt V2: axis, eps
    "l2_norm": Op(_along_axis, in_place=True),  # x / max(norm, eps) along the axis: axis, eps
    # elementwise
    "relu": _ACTIVATION,
    "relu6": _ACTIVATION,
    "hard_swish": _ACTIVATION,
    "hard_sigmoid": _ACTIVATION,
    "sigmoid": _ACTIVATION,
    "silu": _ACTIVATION,
    "gelu": _ACTIVATION,
    "tanh": _ACTIVATION,
    "squared_relu": _ACTIVATION,
    "star_relu": Op(_same, _star_relu_weights, in_place=True),
    "softmax": Op(_along_axis, in_place=True),  # axis
    "scale": Op(_along_axis, _scale_weights, in_place=True),  # a learned factor an index: axis, init
    "multiply": Op(_same, in_place=True),  # by a fixed number: factor
    "add": Op(_equal, commutative=True),
    "add_broadcast": Op(_both, commutative=True),
    "sub": Op(_equal),
    "mul": Op(_broadcast),
    "mul_broadcast": Op(_both, commutative=True),
    # a learned or fixed tensor: shape, trainable, init ("zeros", "ones", "normal", "fourier": see torch_network);
    # its input gives the batch
    "parameter": Op(_parameter_shape, _parameter_weights),
    # windows and reductions; pools take kernel, stride, padding, ceil_mode (default False)
    "max_pool": Op(_pool_shape),
    "avg_pool": Op(_pool_shape),  # padding does not count
    "blur_pool": Op(_blur_pool_shape),  # a fixed binomial filter of each channel: kernel (taps), stride, reflect
    # every second position of each axis, from 0 or 1: for each sample the ones of the largest L2 norm, in the second
    # input if there is one; an axis of odd size goes on with its first position
    "polyphase": Op(_polyphase_shape),
    "global_avg_pool": Op(_global_pool_shape),
    "global_max_pool": Op(_global_pool_shape),
    "global_std_pool": Op(_global_pool_shape),  # unbiased
    "reduce_mean": Op(_reduce_shape),  # axis, which stays with size 1
    "reduce_max": Op(_reduce_shape),
    "matmul": Op(_matmul_shape, matmul_macs=_matmul_macs),  # (..., n, k) x (..., k, m): transpose_b
    # convolution with learned positions of its taps: as "conv" without dilation, taps; kernel is the window
    "spaced_conv": Op(_spaced_conv_shape, _spaced_conv_weights, _conv_macs),
    "sparse_shift": Op(_sparse_shift_shape, _sparse_shift_weights),  # of each channel, learned: reach (the furthest)
    # of the first input, stride 1, with the second input's weights for each position: channel c is weighed by
    # channels g * prod(kernel) to (g + 1) * prod(kernel) of the second input, g = c modulo the groups: kernel
    "dynamic_conv": Op(_dynamic_conv_shape, matmul_macs=_dynamic_conv_macs),
    # moves; axes count from 0 without the batch, or from -1
    "concat": Op(_concat_shape),  # axis (default 0)
    "slice": Op(_slice_shape),  # axis, start, stop
    "gather": Op(_gather_shape),  # axis, indices: a fixed tuple
    "reshape": Op(_reshape_shape, in_place=True),  # shape
    "transpose": Op(_transpose_shape),  # axes
    "flatten": Op(_flatten_shape, in_place=True),
    "pad": Op(_pad_shape),  # zeros: before, after, one entry a spatial axis; negative crops
    "resize": Op(_resize_shape),  # size, mode: "nearest", "bilinear", or "bilinear_corners" (corners aligned)
    # training only
    "dropout": Op(_same, in_place=True, train_only=True),
    "drop_path": Op(_same, in_place=True, train_only=True),  # drops whole samples of a branch: p
    # A constant of zeros that follows the batch of its input: a cell whose output no path reaches.
    "zeros": Op(_zeros_shape),
}
"""Every primitive op by name, with its attributes where they are not plain. Readers (torch, ONNX, source)
are dictionaries with the same keys."""
