"""Scales and zero points of a TFLite program, and its constants as integers (Jacob et al. 2018, arXiv:1712.05877)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces.tflite_program import Bias, Filter, Integers, Number, Operator, Program, Tensor

Ranges = Mapping[str, tuple[float, float]]
"""The least and the largest value of graph inputs and nodes, by name."""

DEFAULT_RANGE = (-8.0, 8.0)
_LIMIT = 64.0  # of guessed bounds, which would grow with every sum and product


class Quantised(NamedTuple):
    """A tensor as integers: ``scale`` has an entry for each index of ``axis``, or one; ``data`` of constants alone."""

    dtype: str
    scale: NDArray[np.float32] | None = None
    zero_point: int = 0
    axis: int = 0
    data: NDArray[Any] | None = None


def quantise(program: Program, weights: Mapping[str, NDArray[Any]], ranges: Ranges | None) -> dict[str, Quantised]:
    """Every tensor of the program as integers.

    Activations have one scale and zero point from their range, weights of convolutions one scale an output channel.
    """
    found = _activations(program, ranges or {})
    for name, tensor in program.tensors.items():
        if tensor.constant is not None and not isinstance(tensor.constant, Bias):
            found[name] = _zeros(tensor, found[name]) if name in found else _constant(tensor, weights)
    for name, tensor in program.tensors.items():
        if isinstance(tensor.constant, Bias):
            found[name] = _bias(tensor.constant, weights, found)
    return found


def _activations(program: Program, ranges: Ranges) -> dict[str, Quantised]:
    bounds = _bounds(program, ranges)
    fixed: dict[str, tuple[float, int]] = {}
    shared: dict[str, tuple[float, float]] = {}
    for name, first in program.group.items():
        if (demanded := program.tensors[name].fixed) is not None:
            fixed[first] = demanded
        low, high = shared.get(first, (0.0, 0.0))  # zero is exact: padding needs it
        bounds_low, bounds_high = bounds.get(name, (0.0, 0.0))
        shared[first] = min(low, bounds_low), max(high, bounds_high)
    found = {}
    for name, first in program.group.items():
        scale, zero_point = fixed.get(first) or _affine(*shared[first])
        found[name] = Quantised("INT8", np.array([scale], np.float32), zero_point)
    return found


def _affine(low: float, high: float) -> tuple[float, int]:
    scale = max(high - low, 1e-6) / 255
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def _bounds(program: Program, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """The given range of each activation, or what follows from the operator that makes it."""
    bounds: dict[str, tuple[float, float]] = {}
    for name in program.inputs:
        bounds[name] = ranges.get(name, DEFAULT_RANGE)
    for operator in program.operators:
        bounds[operator.output] = ranges.get(operator.output) or _clipped(operator, _guess(program, operator, bounds))
    return bounds


def _guess(program: Program, operator: Operator, bounds: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    read = [bounds.get(name) or _constant_bounds(program.tensors[name]) for name in operator.inputs]
    if operator.kind == "ADD":
        return sum(low for low, _ in read), sum(high for _, high in read)
    if operator.kind == "MUL":
        products = [a * b for a in read[0] for b in read[1]]
        return min(products), max(products)
    if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return DEFAULT_RANGE
    return read[0]


def _constant_bounds(tensor: Tensor) -> tuple[float, float]:
    value = tensor.constant.value if isinstance(tensor.constant, Number) else 0.0
    return value, value


def _clipped(operator: Operator, bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = max(bounds[0], -_LIMIT), min(bounds[1], _LIMIT)
    activation = operator.options.get("fusedActivationFunction", operator.kind)
    if activation == "RELU":
        return max(low, 0.0), max(high, 0.0)
    return (min(max(low, 0.0), 6.0), min(max(high, 0.0), 6.0)) if activation == "RELU6" else (low, high)


def _constant(tensor: Tensor, weights: Mapping[str, NDArray[Any]]) -> Quantised:
    constant = tensor.constant
    if isinstance(constant, Integers):
        return Quantised("INT32", data=np.array(constant.values, np.int32).reshape(constant.shape))
    if isinstance(constant, Number):
        scale = (abs(constant.value) or 1.0) / 127
        filled = np.full(prod(tensor.shape), round(constant.value / scale), np.int8).reshape(tensor.shape)
        return Quantised("INT8", np.array([scale], np.float32), data=filled)
    assert isinstance(constant, Filter)
    values = np.asarray(constant.make(weights), np.float64)
    others = tuple(a for a in range(values.ndim) if a != constant.axis)
    scales = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-9) / 127
    data = np.clip(np.round(values / scales), -127, 127).astype(np.int8)
    return Quantised("INT8", scales.ravel().astype(np.float32), axis=constant.axis or 0, data=data)


def _zeros(tensor: Tensor, shared: Quantised) -> Quantised:
    return shared._replace(data=np.full(tensor.shape, shared.zero_point, np.int8))


def _bias(constant: Bias, weights: Mapping[str, NDArray[Any]], found: Mapping[str, Quantised]) -> Quantised:
    values = np.asarray(constant.make(weights), np.float64)
    x, filters = found[constant.input].scale, found[constant.filter].scale
    assert x is not None
    assert filters is not None
    scales = (x[0] * filters).astype(np.float32)
    limits = np.iinfo(np.int32)
    data = np.clip(np.round(values / scales), limits.min, limits.max).astype(np.int32)
    return Quantised("INT32", scales, data=data)
