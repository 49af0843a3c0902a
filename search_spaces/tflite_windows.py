"""Layers and pools in TFLite: windows, their padding, and factors of each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.graph import Node, Shape
from search_spaces.tflite_program import Bias, Emit, Filter, Lowering, stored, unsupported


def conv(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    """A convolution over two axes: depthwise where each channel is its own group."""
    a, (in_channels, *_) = node.attrs, shapes[0]
    if len(shapes[0]) != 3:
        raise unsupported(node, f" over {len(shapes[0]) - 1} spatial axes")
    depthwise = a["groups"] == in_channels and in_channels > 1
    size, out = shapes[0][1:], node.shape[1:]
    x = w.value[node.inputs[0]]
    kernel = a["kernel"]
    padding = _padding(size, out, kernel, a)
    if padding is None and depthwise and (longer := _longer(size, out, a)) is not None:
        # zero taps at the end move TFLite's padding to where it is wanted, and no padded copy is held
        kernel, padding = longer, "SAME"
    if padding is None:
        x, padding = _padded(w, node, x, shapes[0]), "VALID"
    grow = [(0, 0), (0, 0), *[(0, k - old) for k, old in zip(kernel, a["kernel"], strict=True)]]
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)

    def taps(weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.pad(weights[f"{node.weights}.weight"], grow).transpose(order)

    shape = (1, *kernel, node.shape[0]) if depthwise else (node.shape[0], *kernel, in_channels // a["groups"])
    filters = w.constant(f"{node.name}/weight", shape, Filter(taps, 3 if depthwise else 0))
    options: dict[str, Any] = {"padding": padding, "strideH": a["stride"][0], "strideW": a["stride"][1]}
    options |= {"dilationHFactor": a["dilation"][0], "dilationWFactor": a["dilation"][1]}
    inputs = [x, filters, *_bias(w, node, x, filters)]
    if depthwise:
        multiplier = node.shape[0] // in_channels
        w.last(node, "DEPTHWISE_CONV_2D", inputs, depthMultiplier=multiplier, **options)
    else:
        w.last(node, "CONV_2D", inputs, **options)


def _bias(w: Lowering, node: Node, x: str, filters: str) -> list[str]:
    if not node.attrs["bias"]:
        return []
    key = f"{node.weights}.bias"
    return [
        w.constant(f"{node.name}/bias", (node.shape[-1 if node.op == "linear" else 0],), Bias(_take(key), x, filters))
    ]


def _take(key: str) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]:
    return lambda weights: weights[key]


def _same(n: int, out: int, kernel: int, stride: int, dilation: int) -> int | None:
    """What TFLite's SAME pads before an axis, or None if its output has another size."""
    if out != -(-n // stride):
        return None
    return max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - n) // 2


def _axes(attrs: Mapping[str, Any], kernel: Shape) -> list[tuple[int, int, int, int]]:
    return list(zip(kernel, attrs["stride"], attrs.get("dilation", (1, 1)), attrs["padding"], strict=True))


def _padding(size: Shape, out: Shape, kernel: Shape, attrs: Mapping[str, Any]) -> str | None:
    """The name of TFLite's padding that places the windows as the node does; None if none does."""
    axes = list(zip(size, out, _axes(attrs, kernel), strict=True))
    if all(p == 0 and m == (n - (k - 1) * d - 1) // s + 1 for n, m, (k, s, d, p) in axes):
        return "VALID"
    return "SAME" if all(_same(n, m, k, s, d) == p for n, m, (k, s, d, p) in axes) else None


def _longer(size: Shape, out: Shape, attrs: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The smallest windows, with taps added at the end, for which SAME pads as much before as the node does."""
    kernel = []
    for n, m, (k, s, d, p) in zip(size, out, _axes(attrs, attrs["kernel"]), strict=True):
        fits = [taps for taps in range(k, k + s) if _same(n, m, taps, s, d) == p]
        if not fits:
            return None
        kernel.append(fits[0])
    return tuple(kernel)


def _padded(w: Lowering, node: Node, x: str, shape: Shape) -> str:
    """The input with zeros around it, no more than the windows reach."""
    amounts: list[tuple[int, int]] = []
    for n, m, (k, s, d, p) in zip(shape[1:], node.shape[1:], _axes(node.attrs, node.attrs["kernel"]), strict=True):
        amounts.append((p, max(0, (m - 1) * s + (k - 1) * d + 1 - n - p)))
    return pad_by(w, node, x, shape, amounts, f"{node.name}/padded")


def pad_by(w: Lowering, node: Node, x: str, shape: Shape, amounts: list[tuple[int, int]], name: str) -> str:
    """The input with zeros around it: an amount before and after for each spatial axis."""
    size = [n + before + after for n, (before, after) in zip(shape[1:], amounts, strict=True)]
    table = w.integers(f"{node.name}/amounts", [(0, 0), *amounts, (0, 0)])
    padded = w.part(node, name, "PAD", [x, table], stored((shape[0], *size)))
    w.share(x, padded)
    return padded


def linear(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    """A fully connected layer over the last axis."""
    if len(shapes[0]) > 2:
        raise unsupported(node, f" over {len(shapes[0])} axes")
    (x,) = w.inputs(node)
    # per tensor: scales for each output came late to fully connected layers, and older runtimes refuse them
    filters = w.constant(
        f"{node.name}/weight", (node.shape[-1], shapes[0][-1]), Filter(_take(f"{node.weights}.weight"), None)
    )
    inputs = [x, filters, *_bias(w, node, x, filters)]
    w.last(node, "FULLY_CONNECTED", inputs, keepNumDims=len(shapes[0]) > 1)


def by_channel(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    """A factor and an offset of each channel: a depthwise convolution of one tap."""
    if len(shapes[0]) != 3 or node.attrs.get("axis", 0) % 3:
        raise unsupported(node, f" over shape {shapes[0]}")
    (x,), channels = w.inputs(node), shapes[0][0]

    def factor(weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        weight = weights[f"{node.weights}.weight"].astype(np.float64)
        if node.op == "batch_norm":
            weight = weight / np.sqrt(weights[f"{node.weights}.running_var"] + node.attrs["eps"])
        return weight.reshape(1, 1, 1, channels)

    def offset(weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        moved = factor(weights).ravel() * weights[f"{node.weights}.running_mean"]
        return np.asarray(weights[f"{node.weights}.bias"] - moved)

    filters = w.constant(f"{node.name}/weight", (1, 1, 1, channels), Filter(factor, 3))
    inputs = [x, filters]
    if node.op == "batch_norm":
        inputs.append(w.constant(f"{node.name}/bias", (channels,), Bias(offset, x, filters)))
    options: dict[str, Any] = {
        "strideH": 1,
        "strideW": 1,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
        "depthMultiplier": 1,
    }
    w.last(node, "DEPTHWISE_CONV_2D", inputs, padding="VALID", **options)


def pool(kind: str) -> Emit:
    """A pool whose windows TFLite's paddings can place."""

    def emit(w: Lowering, node: Node, shapes: list[Shape]) -> None:
        if len(shapes[0]) != 3:
            raise unsupported(node, f" over {len(shapes[0]) - 1} spatial axes")
        a = node.attrs
        padding = _padding(shapes[0][1:], node.shape[1:], a["kernel"], a)
        if padding is None:
            raise unsupported(node, f" of window {a['kernel']}, stride {a['stride']}, padding {a['padding']}")
        _window(w, node, kind, a["kernel"], a["stride"], padding)

    return emit


def _window(w: Lowering, node: Node, kind: str, kernel: Shape, stride: Shape, padding: str) -> None:
    (x,) = w.inputs(node)
    sizes: dict[str, Any] = {
        "filterHeight": kernel[0],
        "filterWidth": kernel[1],
        "strideH": stride[0],
        "strideW": stride[1],
    }
    w.share(x, w.last(node, kind, [x], padding=padding, **sizes))


def global_max_pool(w: Lowering, node: Node, shapes: list[Shape]) -> None:
    """A pool of one window over everything."""
    if len(shapes[0]) != 3:
        raise unsupported(node, f" of shape {shapes[0]}")
    _window(w, node, "MAX_POOL_2D", shapes[0][1:], (1, 1), "VALID")
