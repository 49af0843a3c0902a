"""How learned positions, and weights or positions that depend on the input, are written in ONNX.

The kernels of fixed positions are computed in the model; a runtime works them out once, when it loads it. A
deployed graph has plain convolutions in their place.
"""

from __future__ import annotations

from math import prod

import numpy as np

from search_spaces.graph import Node, Shape
from search_spaces.onnx_writer import Writer


def _hats(w: Writer, node: Node, position: str, axis: int, size: int, part: str) -> str:
    """The shares of ``size`` grid points, along a new last axis, in the taps of one axis of a position tensor."""
    name = f"{node.name}.{part}"
    reach = size // 2
    index = w.constant(f"{name}_axis", np.array(axis, np.int64))
    grid = w.constant(f"{name}_grid", np.arange(-reach, size - reach, dtype=np.float32))
    last = w.constant("constant.last", np.array([-1], np.int64))
    zero = w.constant("constant.0", np.array(0, np.float32))
    one = w.constant("constant.1", np.array(1, np.float32))
    low = w.constant(f"{name}_low", np.array(-reach, np.float32))
    high = w.constant(f"{name}_high", np.array(reach, np.float32))
    along = w.add("Gather", [position, index], f"{name}_along", axis=0)
    inside = w.add("Clip", [along, low, high], f"{name}_inside")
    column = w.add("Unsqueeze", [inside, last], f"{name}_column")
    distance = w.add("Abs", [w.add("Sub", [column, grid], f"{name}_difference")], f"{name}_distance")
    return w.add("Max", [w.add("Sub", [one, distance], f"{name}_slope"), zero], f"{name}_share")


def _conv(w: Writer, node: Node, kernel: str, window: tuple[int, ...], **attrs: object) -> None:
    names = [node.inputs[0], kernel] + ([f"{node.weights}.bias"] if node.attrs.get("bias") else [])
    w.add("Conv", names, node.name, kernel_shape=window, **attrs)


def spaced_conv(w: Writer, node: Node, shapes: list[Shape]) -> None:
    a, position = node.attrs, f"{node.weights}.position"
    rows, columns = (
        _hats(w, node, position, axis, size, part)
        for axis, (size, part) in enumerate(zip(a["kernel"], ("rows", "columns"), strict=True))
    )
    last = w.constant("constant.last", np.array([-1], np.int64))
    taps = w.add("Unsqueeze", [f"{node.weights}.weight", last], f"{node.name}.taps")
    weighed = w.add("Mul", [taps, rows], f"{node.name}.weighed")
    turned = w.add("Transpose", [weighed], f"{node.name}.turned", perm=[0, 1, 3, 2])
    kernel = w.add("MatMul", [turned, columns], f"{node.name}.kernel")
    _conv(w, node, kernel, a["kernel"], strides=a["stride"], pads=a["padding"] * 2, group=a["groups"])


def sparse_shift(w: Writer, node: Node, shapes: list[Shape]) -> None:
    channels, reach = shapes[0][0], node.attrs["reach"]
    size = 2 * reach + 1
    rounded = w.add("Round", [f"{node.weights}.displacement"], f"{node.name}.rounded")
    rows, columns = (_hats(w, node, rounded, axis, size, part) for axis, part in enumerate(("rows", "columns")))
    upright = w.constant("constant.upright", np.array([1, 3], np.int64))
    flat = w.constant("constant.flat", np.array([1, 2], np.int64))
    rows = w.add("Unsqueeze", [rows, upright], f"{node.name}.rows_upright")
    columns = w.add("Unsqueeze", [columns, flat], f"{node.name}.columns_flat")
    kernel = w.add("Mul", [rows, columns], f"{node.name}.kernel")
    _conv(w, node, kernel, (size, size), pads=[reach] * 4, group=channels)


def dynamic_conv(w: Writer, node: Node, shapes: list[Shape]) -> None:
    (channels, height, width), (rows, columns) = shapes[0], node.attrs["kernel"]
    taps = rows * columns
    groups = shapes[1][0] // taps
    pads = w.constant(f"{node.name}.pads", np.array([0, 0, rows // 2, columns // 2] * 2, np.int64))
    grouped = w.constant(f"{node.name}.grouped", np.array([0, channels // groups, groups, height, width], np.int64))
    by_tap = w.constant(f"{node.name}.by_tap", np.array([0, groups, taps, height, width], np.int64))
    axes = w.constant(f"{node.name}.axes", np.array([2, 3], np.int64))
    second = w.constant("constant.second", np.array([1], np.int64))
    padded = w.add("Pad", [node.inputs[0], pads], f"{node.name}.padded")
    weights = w.add("Reshape", [node.inputs[1], by_tap], f"{node.name}.weights")
    total = ""
    for tap in range(prod(node.attrs["kernel"])):
        row, column = divmod(tap, columns)
        name = f"{node.name}.tap{tap}"
        start = w.constant(f"{name}_start", np.array([row, column], np.int64))
        stop = w.constant(f"{name}_stop", np.array([row + height, column + width], np.int64))
        number = w.constant(f"{name}_number", np.array(tap, np.int64))
        moved = w.add("Slice", [padded, start, stop, axes], f"{name}_moved")
        moved = w.add("Reshape", [moved, grouped], f"{name}_grouped")
        own = w.add("Gather", [weights, number], f"{name}_weights", axis=2)
        own = w.add("Unsqueeze", [own, second], f"{name}_shared")
        product = w.add("Mul", [moved, own], f"{name}_product")
        total = w.add("Add", [total, product], f"{name}_total") if total else product
    shape = w.constant(f"{node.name}.shape", np.array([0, *shapes[0]], np.int64))
    w.add("Reshape", [total, shape], node.name)


def polyphase(w: Writer, node: Node, shapes: list[Shape]) -> None:
    components = _components(w, node, node.inputs[0], shapes[0], "own")
    chosen_by = _components(w, node, node.inputs[1], shapes[1], "guide") if len(shapes) > 1 else components
    last = w.constant("constant.last", np.array([-1], np.int64))
    squares = w.add("ReduceSumSquare", [chosen_by, last], f"{node.name}.squares", keepdims=0)
    index = w.add("ArgMax", [squares], f"{node.name}.index", axis=1)
    chosen = w.add("GatherND", [components, index], f"{node.name}.chosen", batch_dims=1)
    shape = w.constant(f"{node.name}.shape", np.array([0, *node.shape], np.int64))
    w.add("Reshape", [chosen, shape], node.name)


def _components(w: Writer, node: Node, x: str, shape: Shape, part: str) -> str:
    """The polyphase components as (batch, components, elements)."""
    name = f"{node.name}.{part}"
    zero = w.constant("constant.start", np.array([0], np.int64))
    one = w.constant("constant.stop", np.array([1], np.int64))
    for axis, size in enumerate(shape[1:], 2):
        if size % 2:
            which = w.constant(f"{name}_axis{axis}", np.array([axis], np.int64))
            first = w.add("Slice", [x, zero, one, which], f"{name}_first{axis}")
            x = w.add("Concat", [x, first], f"{name}_even{axis}", axis=axis)
    axes = len(shape) - 1
    halves = [entry for size in shape[1:] for entry in ((size + 1) // 2, 2)]
    split = w.constant(f"{name}_split", np.array([0, shape[0], *halves], np.int64))
    x = w.add("Reshape", [x, split], f"{name}_positions")
    phases = [3 + 2 * axis for axis in range(axes)]
    x = w.add("Transpose", [x], f"{name}_turned", perm=[0, *phases, 1, *(phase - 1 for phase in phases)])
    lines = w.constant(f"{name}_lines", np.array([0, 2**axes, -1], np.int64))
    return w.add("Reshape", [x, lines], f"{name}_components")
