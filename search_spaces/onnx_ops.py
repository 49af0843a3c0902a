"""How each op is written in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import Node, Shape
from search_spaces.onnx_learned import dynamic_conv, polyphase, spaced_conv, sparse_shift
from search_spaces.onnx_writer import Writer, tensor
from search_spaces.ops import binomial

_Emit = Callable[[Writer, Node, list[Shape]], object]


def _conv(w: Writer, node: Node, shapes: list[Shape]) -> None:
    a = node.attrs
    names = [node.inputs[0], f"{node.weights}.weight"] + ([f"{node.weights}.bias"] if a["bias"] else [])
    w.add(
        "Conv",
        names,
        node.name,
        kernel_shape=a["kernel"],
        strides=a["stride"],
        pads=a["padding"] * 2,
        dilations=a["dilation"],
        group=a["groups"],
    )


def _linear(w: Writer, node: Node, shapes: list[Shape]) -> None:
    weight, bias = f"{node.weights}.weight", f"{node.weights}.bias"
    if len(shapes[0]) == 1:
        w.add("Gemm", [node.inputs[0], weight] + ([bias] if node.attrs["bias"] else []), node.name, transB=1)
        return
    w.add("Transpose", [weight], f"{node.name}.transposed", perm=[1, 0])
    product = f"{node.name}.product" if node.attrs["bias"] else node.name
    w.add("MatMul", [node.inputs[0], f"{node.name}.transposed"], product)
    if node.attrs["bias"]:
        w.add("Add", [product, bias], node.name)


def _batch_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    tensors = [f"{node.weights}.{t}" for t in ("weight", "bias", "running_mean", "running_var")]
    w.add("BatchNormalization", [node.inputs[0], *tensors], node.name, epsilon=node.attrs["eps"])


def _relu6(w: Writer, node: Node, shapes: list[Shape]) -> None:
    low = w.constant("constant.0", np.array(0, np.float32))
    high = w.constant("constant.6", np.array(6, np.float32))
    w.add("Clip", [node.inputs[0], low, high], node.name)


def _silu(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("Sigmoid", [node.inputs[0]], f"{node.name}.sigmoid")
    w.add("Mul", [node.inputs[0], f"{node.name}.sigmoid"], node.name)


def _pairwise(kind: str) -> _Emit:
    """A chain of two-input ops, which runtimes fuse better than one op of many inputs."""

    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        first, *rest = node.inputs
        if not rest:
            w.add("Identity", [first], node.name)
        for number, term in enumerate(rest, 1):
            first = w.add(kind, [first, term], node.name if number == len(rest) else f"{node.name}.part{number}")

    return emit


def _pool(kind: str, **fixed: Any) -> _Emit:
    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        a = node.attrs
        attrs = {**fixed, "ceil_mode": 1} if a.get("ceil_mode") else fixed
        w.add(
            kind,
            [node.inputs[0]],
            node.name,
            kernel_shape=a["kernel"],
            strides=a["stride"],
            pads=a["padding"] * 2,
            **attrs,
        )

    return emit


def _global_avg_pool(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("GlobalAveragePool" if len(shapes[0]) > 1 else "Identity", [node.inputs[0]], node.name)


def _zeros(w: Writer, node: Node, shapes: list[Shape]) -> None:
    batch = w.add("Shape", [node.inputs[0]], f"{node.name}.batch", start=0, end=1)
    rest = w.constant(f"{node.name}.rest", np.array(node.shape, np.int64))
    shape = w.add("Concat", [batch, rest], f"{node.name}.shape", axis=0)
    w.add("ConstantOfShape", [shape], node.name, value=tensor("zero", np.zeros(1, np.float32)))


def _axis(node: Node, shapes: list[Shape]) -> int:
    """The axis of an op as ONNX counts it, the batch being 0."""
    axis: int = node.attrs.get("axis", 0)
    return axis % len(shapes[0]) + 1


def _along(axis: int, axes: int) -> NDArray[np.int64]:
    """The shape that lays a vector along one axis of a batch, for broadcasting."""
    return np.array([-1 if a == axis else 1 for a in range(1, axes + 1)], np.int64)


def _laid(w: Writer, node: Node, shapes: list[Shape], tensor_name: str) -> str:
    """A vector of the node's entry, laid along its axis."""
    shape = w.constant(f"{node.name}.along", _along(_axis(node, shapes), len(shapes[0])))
    return w.add("Reshape", [f"{node.weights}.{tensor_name}", shape], f"{node.name}.{tensor_name}_along")


def _layer_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    axis, axes = _axis(node, shapes), len(shapes[0])
    tensors = [f"{node.weights}.weight"] + ([f"{node.weights}.bias"] if node.attrs["bias"] else [])
    if axis == axes:
        w.add("LayerNormalization", [node.inputs[0], *tensors], node.name, axis=-1, epsilon=node.attrs["eps"])
        return
    order = [a for a in range(axes + 1) if a != axis] + [axis]
    back = [order.index(a) for a in range(axes + 1)]
    moved = w.add("Transpose", [node.inputs[0]], f"{node.name}.moved", perm=order)
    normed = w.add("LayerNormalization", [moved, *tensors], f"{node.name}.normed", axis=-1, epsilon=node.attrs["eps"])
    w.add("Transpose", [normed], node.name, perm=back)


def _group_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    groups, eps = node.attrs["groups"], node.attrs["eps"]
    grouped = w.constant(f"{node.name}.grouped_shape", np.array([0, groups, -1], np.int64))
    ones = w.constant(f"{node.name}.ones", np.ones(groups, np.float32))
    zeros = w.constant(f"{node.name}.zeros", np.zeros(groups, np.float32))
    x = w.add("Reshape", [node.inputs[0], grouped], f"{node.name}.grouped")
    x = w.add("InstanceNormalization", [x, ones, zeros], f"{node.name}.normed", epsilon=eps)
    shape = w.constant(f"{node.name}.shape", np.array([0, *shapes[0]], np.int64))
    x = w.add("Reshape", [x, shape], f"{node.name}.ungrouped")
    scaled = f"{node.name}.scaled" if node.attrs["bias"] else node.name
    w.add("Mul", [x, _laid(w, node, shapes, "weight")], scaled)
    if node.attrs["bias"]:
        w.add("Add", [scaled, _laid(w, node, shapes, "bias")], node.name)


def _instance_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    tensors = [f"{node.weights}.{t}" for t in ("weight", "bias")]
    w.add("InstanceNormalization", [node.inputs[0], *tensors], node.name, epsilon=node.attrs["eps"])


def _response_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    axis, axes = _axis(node, shapes), len(shapes[0])
    positions = np.array([a for a in range(1, axes + 1) if a != axis], np.int64)
    where = w.constant(f"{node.name}.positions", positions)
    channel = w.constant(f"{node.name}.channel", np.array([axis], np.int64))
    tiny = w.constant("constant.1e-12", np.array(1e-12, np.float32))
    eps = w.constant(f"{node.name}.eps", np.array(node.attrs["eps"], np.float32))
    squares = w.add("ReduceSumSquare", [node.inputs[0], where], f"{node.name}.squares")
    norm = w.add("Sqrt", [w.add("Add", [squares, tiny], f"{node.name}.above_zero")], f"{node.name}.norm")
    mean = w.add("Add", [w.add("ReduceMean", [norm, channel], f"{node.name}.mean"), eps], f"{node.name}.mean_eps")
    factor = w.add("Div", [norm, mean], f"{node.name}.factor")
    factor = w.add("Mul", [_laid(w, node, shapes, "weight"), factor], f"{node.name}.weighted")
    change = w.add("Mul", [node.inputs[0], factor], f"{node.name}.change")
    change = w.add("Add", [change, _laid(w, node, shapes, "bias")], f"{node.name}.biased")
    w.add("Add", [node.inputs[0], change], node.name)


def _l2_norm(w: Writer, node: Node, shapes: list[Shape]) -> None:
    axis = w.constant(f"{node.name}.axis", np.array([_axis(node, shapes)], np.int64))
    eps = w.constant(f"{node.name}.eps", np.array(node.attrs["eps"], np.float32))
    norm = w.add("ReduceL2", [node.inputs[0], axis], f"{node.name}.norm")
    w.add("Div", [node.inputs[0], w.add("Max", [norm, eps], f"{node.name}.bounded")], node.name)


def _squared_relu(w: Writer, node: Node, shapes: list[Shape]) -> None:
    positive = w.add("Relu", [node.inputs[0]], f"{node.name}.positive")
    w.add("Mul", [positive, positive], node.name)


def _star_relu(w: Writer, node: Node, shapes: list[Shape]) -> None:
    positive = w.add("Relu", [node.inputs[0]], f"{node.name}.positive")
    square = w.add("Mul", [positive, positive], f"{node.name}.square")
    scaled = w.add("Mul", [square, f"{node.weights}.scale"], f"{node.name}.scaled")
    w.add("Add", [scaled, f"{node.weights}.bias"], node.name)


def _scale(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("Mul", [node.inputs[0], _laid(w, node, shapes, "weight")], node.name)


def _multiply(w: Writer, node: Node, shapes: list[Shape]) -> None:
    factor = w.constant(f"{node.name}.factor", np.array(node.attrs["factor"], np.float32))
    w.add("Mul", [node.inputs[0], factor], node.name)


def _softmax(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("Softmax", [node.inputs[0]], node.name, axis=_axis(node, shapes))


def _expanded(w: Writer, node: Node, value: str) -> None:
    """``value`` for every sample of the node's input."""
    batch = w.add("Shape", [node.inputs[0]], f"{node.name}.batch", start=0, end=1)
    rest = w.constant(f"{node.name}.rest", np.array(node.shape, np.int64))
    shape = w.add("Concat", [batch, rest], f"{node.name}.shape", axis=0)
    w.add("Expand", [value, shape], node.name)


def _parameter(w: Writer, node: Node, shapes: list[Shape]) -> None:
    _expanded(w, node, f"{node.weights}.value")


def _global_std_pool(w: Writer, node: Node, shapes: list[Shape]) -> None:
    positions = w.constant(f"{node.name}.positions", np.arange(2, len(shapes[0]) + 1, dtype=np.int64))
    count = prod(shapes[0][1:])
    mean = w.add("ReduceMean", [node.inputs[0], positions], f"{node.name}.mean")
    centred = w.add("Sub", [node.inputs[0], mean], f"{node.name}.centred")
    squares = w.add("ReduceSumSquare", [centred, positions], f"{node.name}.squares")
    share = w.constant(f"{node.name}.share", np.array(1 / max(1, count - 1), np.float32))
    w.add("Sqrt", [w.add("Mul", [squares, share], f"{node.name}.variance")], node.name)


def _reduce(kind: str) -> _Emit:
    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        axis = w.constant(f"{node.name}.axis", np.array([_axis(node, shapes)], np.int64))
        w.add(kind, [node.inputs[0], axis], node.name)

    return emit


def _matmul(w: Writer, node: Node, shapes: list[Shape]) -> None:
    a, b = node.inputs
    if node.attrs["transpose_b"]:
        axes = len(shapes[1])
        b = w.add("Transpose", [b], f"{node.name}.transposed", perm=[*range(axes - 1), axes, axes - 1])
    w.add("MatMul", [a, b], node.name)


def _concat(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("Concat", list(node.inputs), node.name, axis=_axis(node, shapes))


def _slice(w: Writer, node: Node, shapes: list[Shape]) -> None:
    bounds = [
        w.constant(f"{node.name}.{name}", np.array([value], np.int64))
        for name, value in (
            ("start", node.attrs["start"]),
            ("stop", node.attrs["stop"]),
            ("axis", _axis(node, shapes)),
        )
    ]
    w.add("Slice", [node.inputs[0], *bounds], node.name)


def _gather(w: Writer, node: Node, shapes: list[Shape]) -> None:
    indices = w.constant(f"{node.name}.indices", np.array(node.attrs["indices"], np.int64))
    w.add("Gather", [node.inputs[0], indices], node.name, axis=_axis(node, shapes))


def _reshape(w: Writer, node: Node, shapes: list[Shape]) -> None:
    shape = w.constant(f"{node.name}.shape", np.array([0, *node.attrs["shape"]], np.int64))
    w.add("Reshape", [node.inputs[0], shape], node.name)


def _transpose(w: Writer, node: Node, shapes: list[Shape]) -> None:
    w.add("Transpose", [node.inputs[0]], node.name, perm=[0, *(axis + 1 for axis in node.attrs["axes"])])


def _pad(w: Writer, node: Node, shapes: list[Shape]) -> None:
    amounts = [0, 0, *node.attrs["before"], 0, 0, *node.attrs["after"]]
    w.add("Pad", [node.inputs[0], w.constant(f"{node.name}.amounts", np.array(amounts, np.int64))], node.name)


def _blur_pool(w: Writer, node: Node, shapes: list[Shape]) -> None:
    kernel, (channels, *_) = node.attrs["kernel"], shapes[0]
    before, after = [(k - 1) // 2 for k in kernel], [k // 2 for k in kernel]
    amounts = w.constant(f"{node.name}.amounts", np.array([0, 0, *before, 0, 0, *after], np.int64))
    mode = "reflect" if node.attrs["reflect"] else "constant"
    padded = w.add("Pad", [node.inputs[0], amounts], f"{node.name}.padded", mode=mode)
    taps = np.ones((), np.float32)
    for size in kernel:
        taps = np.multiply.outer(taps, np.array(binomial(size), np.float32))
    filters = w.constant(f"{node.name}.filters", np.tile(taps, (channels, 1, *(1,) * len(kernel))))
    w.add("Conv", [padded, filters], node.name, kernel_shape=kernel, strides=node.attrs["stride"], group=channels)


def _resize(w: Writer, node: Node, shapes: list[Shape]) -> None:
    mode = node.attrs["mode"]
    coordinates = {"nearest": "asymmetric", "bilinear": "half_pixel", "bilinear_corners": "align_corners"}
    size = w.constant(f"{node.name}.size", np.array(node.attrs["size"], np.int64))
    w.add(
        "Resize",
        [node.inputs[0], "", "", size],
        node.name,
        axes=list(range(2, len(shapes[0]) + 1)),
        mode="nearest" if mode == "nearest" else "linear",
        coordinate_transformation_mode=coordinates[mode],
        nearest_mode="floor",
    )


def _plain(kind: str, **attrs: Any) -> _Emit:
    def emit(w: Writer, node: Node, shapes: list[Shape]) -> None:
        w.add(kind, list(node.inputs), node.name, **attrs)

    return emit


ONNX: Mapping[str, _Emit] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "response_norm": _response_norm,
    "l2_norm": _l2_norm,
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "hard_swish": _plain("HardSwish"),
    "hard_sigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "sigmoid": _plain("Sigmoid"),
    "silu": _silu,
    "gelu": _plain("Gelu"),
    "tanh": _plain("Tanh"),
    "squared_relu": _squared_relu,
    "star_relu": _star_relu,
    "softmax": _softmax,
    "scale": _scale,
    "multiply": _multiply,
    "add": _pairwise("Add"),
    "add_broadcast": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _pairwise("Mul"),
    "mul_broadcast": _plain("Mul"),
    "parameter": _parameter,
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AveragePool", count_include_pad=0),
    "blur_pool": _blur_pool,
    "polyphase": polyphase,
    "global_avg_pool": _global_avg_pool,
    "global_max_pool": _plain("GlobalMaxPool"),
    "global_std_pool": _global_std_pool,
    "reduce_mean": _reduce("ReduceMean"),
    "reduce_max": _reduce("ReduceMax"),
    "matmul": _matmul,
    "spaced_conv": spaced_conv,
    "sparse_shift": sparse_shift,
    "dynamic_conv": dynamic_conv,
    "concat": _concat,
    "slice": _slice,
    "gather": _gather,
    "reshape": _reshape,
    "transpose": _transpose,
    "flatten": _plain("Flatten", axis=1),
    "pad": _pad,
    "resize": _resize,
    "dropout": _plain("Identity"),
    "drop_path": _plain("Identity"),
    "zeros": _zeros,
}
"""How each op of ``OPS`` is written: (writer, node, input shapes)."""
