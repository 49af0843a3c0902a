"""How each op is written in TFLite, with the int8 operators of TFLite Micro."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.graph import Graph, Node, Shape
from search_spaces.tflite_program import Emit, Lowering, Number, Program, stored, stored_axis, unsupported
from search_spaces.tflite_windows import by_channel, conv, global_max_pool, linear, pad_by, pool

SIGMOID_SCALE = (1 / 256, -128)  # what TFLite demands of a logistic and a softmax
TANH_SCALE = (1 / 128, 0)
MAX_CONCAT_INPUTS = 10


def lower(graph: Graph) -> Program:
    """The TFLite program of a deployed graph, nodes in its order.

    Raises: UnsupportedKernel for an op, or a use of it, that is not written in int8.
    """
    program: Program = graph.memo("tflite_program", _lower)
    return program


def _lower(graph: Graph) -> Program:
    shapes = graph.shapes_by_name()
    w = Lowering(graph, FUSING, frozenset({"relu", "relu6"}))
    for node in graph.nodes:
        if node.name in w.value:
            continue  # fused into the op before
        if (emit := TFLITE[node.op]) is None:
            raise unsupported(node)
        emit(w, node, [shapes[name] for name in node.inputs])
    return w.program(graph)


def _plain(kind: str, fixed: tuple[float, int] | None = None) -> Emit:
    return lambda w, node, shapes: w.last(node, kind, w.inputs(node), fixed)


def _relu6(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    (x,) = w.inputs(node)
    w.share(x, w.last(node, "RELU6", [x]))  # it clips and does not rescale


def _pairwise(kind: str) -> Emit:
    """A chain of operators of two inputs."""

    def emit(w: Lowering, node: Node, shapes: list[Shape]) -> None:
        first, *rest = w.inputs(node)
        for number, term in enumerate(rest[:-1], 1):
            first = w.part(node, f"{node.name}.part{number}", kind, [first, term], stored(node.shape))
        if rest:
            w.last(node, kind, [first, rest[-1]])
        else:
            w.value[node.name] = first

    return emit


def _multiply(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    factor = w.constant(f"{node.name}/factor", (1,), Number(node.attrs["factor"]))
    w.last(node, "MUL", [*w.inputs(node), factor])


def _hard_sigmoid(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    three, sixth = w.constant("/3", (1,), Number(3.0)), w.constant("/sixth", (1,), Number(1 / 6))
    clipped = w.part(
        node,
        f"{node.name}/clipped",
        "ADD",
        [*w.inputs(node), three],
        stored(node.shape),
        fusedActivationFunction="RELU6",
    )
    w.last(node, "MUL", [clipped, sixth])


def _silu(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    (x,) = w.inputs(node)
    gate = w.part(node, f"{node.name}/sigmoid", "LOGISTIC", [x], stored(node.shape), SIGMOID_SCALE)
    w.last(node, "MUL", [x, gate])


def _squared_relu(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    positive = w.part(node, f"{node.name}/positive", "RELU", w.inputs(node), stored(node.shape))
    w.last(node, "MUL", [positive, positive])


def _softmax(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    if stored_axis(node.attrs["axis"], shapes[0]) != len(shapes[0]):
        raise unsupported(node, " over an axis that is not stored last")
    w.last(node, "SOFTMAX", w.inputs(node), SIGMOID_SCALE, beta=1.0)


def _global_avg_pool(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    if len(shapes[0]) == 1:
        w.value[node.name] = w.value[node.inputs[0]]
        return
    _mean(w, node, [stored_axis(axis, shapes[0]) for axis in range(1, len(shapes[0]))])


def _reduce_mean(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    _mean(w, node, [stored_axis(node.attrs["axis"], shapes[0])])


def _mean(w: Lowering, node: Node, axes: list[int]) -> None:
    w.last(node, "MEAN", [*w.inputs(node), w.integers(f"{node.name}/axes", axes)], keepDims=True)


def _concat(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    if len(shapes) > MAX_CONCAT_INPUTS:
        raise unsupported(node, f" of more than {MAX_CONCAT_INPUTS} inputs")
    inputs = []
    for number, (x, shape) in enumerate(zip(w.inputs(node), shapes, strict=True)):
        if w.is_fixed(x):  # its scale is not that of the others
            x = w.part(node, f"{node.name}/input{number}", "QUANTIZE", [x], stored(shape))
        inputs.append(x)
    output = w.last(node, "CONCATENATION", inputs, axis=stored_axis(node.attrs.get("axis", 0), node.shape))
    w.share(*inputs, output)


def _slice(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    begin = [0] * (len(node.shape) + 1)
    begin[stored_axis(node.attrs["axis"], shapes[0])] = node.attrs["start"]
    bounds = [w.integers(f"{node.name}/begin", begin), w.integers(f"{node.name}/size", stored(node.shape))]
    _moved(w, node, "SLICE", bounds)


def _gather(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    indices = w.integers(f"{node.name}/indices", node.attrs["indices"])
    _moved(w, node, "GATHER", [indices], axis=stored_axis(node.attrs["axis"], shapes[0]))


def _moved(w: Lowering, node: Node, kind: str, constants: list[str], **options: Any) -> None:
    """An operator that gives values of its input as they are."""
    (x,) = w.inputs(node)
    w.share(x, w.last(node, kind, [x, *constants], **options))


def _reshape(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    """Elements keep their order with channels first, so what has positions is transposed before and after."""
    (x,), shape = w.inputs(node), shapes[0]
    if len(shape) == len(node.shape) == 1:
        w.value[node.name] = x
        return
    if _has_positions(shape):
        plain = w.part(
            node,
            f"{node.name}/channels_first",
            "TRANSPOSE",
            [x, w.integers("/channels_first", (0, 3, 1, 2))],
            (1, *shape),
        )
        w.share(x, plain)
        x = plain
    if not _has_positions(node.shape):
        size = w.integers(f"{node.name}/shape", stored(node.shape))
        w.share(x, w.last(node, "RESHAPE", [x, size], newShape=list(stored(node.shape))))
        return
    size = w.integers(f"{node.name}/shape", (1, *node.shape))
    plain = w.part(node, f"{node.name}/reshaped", "RESHAPE", [x, size], (1, *node.shape), newShape=[1, *node.shape])
    w.share(x, plain, w.last(node, "TRANSPOSE", [plain, w.integers("/channels_last", (0, 2, 3, 1))]))


def _has_positions(shape: Shape) -> bool:
    """Whether channels first and channels last differ in the order of elements."""
    return len(shape) == 3 and shape[0] > 1 and shape[1] * shape[2] > 1


def _transpose(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    axes = node.attrs["axes"]
    order = [0] * (len(axes) + 1)
    for axis, source in enumerate(axes):
        order[stored_axis(axis, node.shape)] = stored_axis(source, shapes[0])
    _moved(w, node, "TRANSPOSE", [w.integers(f"{node.name}/order", order)])


def _pad(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    before, after = node.attrs["before"], node.attrs["after"]
    if len(shapes[0]) != 3 or min(*before, *after) < 0:
        raise unsupported(node, f" by {before}, {after} of shape {shapes[0]}")
    amounts = list(zip(before, after, strict=True))
    w.value[node.name] = pad_by(w, node, w.value[node.inputs[0]], shapes[0], amounts, node.name)


def _resize(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    if len(shapes[0]) != 3:
        raise unsupported(node, f" of shape {shapes[0]}")
    mode = node.attrs["mode"]
    kind = "RESIZE_NEAREST_NEIGHBOR" if mode == "nearest" else "RESIZE_BILINEAR"
    size = w.integers(f"{node.name}/size", node.attrs["size"])
    _moved(w, node, kind, [size], alignCorners=mode == "bilinear_corners", halfPixelCenters=mode == "bilinear")


def _zeros(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    w.value[node.name] = w.zeros(node.name, stored(node.shape))


FUSING = frozenset(
    ("conv", "linear", "batch_norm", "scale", "multiply", "add", "add_broadcast", "sub", "mul", "mul_broadcast")
)
"""The ops that TFLite runs together with a relu or relu6 after them."""

TFLITE: Mapping[str, Emit | None] = {
    "conv": conv,
    "linear": linear,
    "batch_norm": by_channel,
    "layer_norm": None,
    "group_norm": None,
    "instance_norm": None,
    "response_norm": None,
    "l2_norm": None,
    "relu": _plain("RELU"),
    "relu6": _relu6,
    "hard_swish": _plain("HARD_SWISH"),
    "hard_sigmoid": _hard_sigmoid,
    "sigmoid": _plain("LOGISTIC", SIGMOID_SCALE),
    "silu": _silu,
    "gelu": None,
    "tanh": _plain("TANH", TANH_SCALE),
    "squared_relu": _squared_relu,
    "star_relu": None,
    "softmax": _softmax,
    "scale": by_channel,
    "multiply": _multiply,
    "add": _pairwise("ADD"),
    "add_broadcast": _pairwise("ADD"),
    "sub": _plain("SUB"),
    "mul": _pairwise("MUL"),
    "mul_broadcast": _pairwise("MUL"),
    "parameter": None,
    "max_pool": pool("MAX_POOL_2D"),
    "avg_pool": pool("AVERAGE_POOL_2D"),
    "blur_pool": None,
    "polyphase": None,
    "global_avg_pool": _global_avg_pool,
    "global_max_pool": global_max_pool,
    "global_std_pool": None,
    "reduce_mean": _reduce_mean,
    "reduce_max": None,
    "matmul": None,
    "spaced_conv": None,
    "sparse_shift": None,
    "dynamic_conv": None,
    "concat": _concat,
    "slice": _slice,
    "gather": _gather,
    "reshape": _reshape,
    "transpose": _transpose,
    "flatten": _reshape,
    "pad": _pad,
    "resize": _resize,
    "dropout": None,
    "drop_path": None,
    "zeros": _zeros,
}
"""How each op of ``OPS`` is written: (lowering, node, input shapes). None: TFLite Micro lacks it in int8, it is
not written yet, or it is never deployed."""
