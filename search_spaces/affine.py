"""What a deployed layer computes: an affine expression over the training weights, in float64.

Every expression evaluates to a kernel (out_channels, in_channels / groups, \\*window), whose window is empty for
a linear layer, and a bias (out_channels).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Get = Callable[[str], NDArray[Any]]
"""A tensor of the training weights by ``<entry>.<tensor>``."""


class Kernel(NamedTuple):
    """The tensors of a convolution or linear layer."""

    weight: Array
    bias: Array


class Expression(Protocol):
    """A layer in terms of the training weights."""

    def evaluate(self, get: Get) -> Kernel: ...


class Layer(NamedTuple):
    """A convolution or linear layer as trained."""

    entry: str
    bias: bool

    def evaluate(self, get: Get) -> Kernel:
        weight = _float64(get, f"{self.entry}.weight")
        return Kernel(weight, _bias(get, self.entry, self.bias, len(weight)))


class Spaced(NamedTuple):
    """A convolution whose taps have learned positions, on the grid of its window."""

    entry: str
    bias: bool
    window: tuple[int, ...]

    def evaluate(self, get: Get) -> Kernel:
        taps = _float64(get, f"{self.entry}.weight")
        position = _float64(get, f"{self.entry}.position")
        rows, columns = (hats(p, size) for p, size in zip(position, self.window, strict=True))
        weight = (taps[..., None] * rows).swapaxes(-1, -2) @ columns
        return Kernel(weight, _bias(get, self.entry, self.bias, len(weight)))


class Shifted(NamedTuple):
    """A shift of every channel by its displacement, rounded: one tap of 1 a channel."""

    entry: str
    window: tuple[int, ...]

    def evaluate(self, get: Get) -> Kernel:
        displacement = _float64(get, f"{self.entry}.displacement")
        rows, columns = (hats(np.rint(d), size) for d, size in zip(displacement, self.window, strict=True))
        return Kernel((rows[:, :, None] * columns[:, None, :])[:, None], np.zeros(len(rows)))


class Identity(NamedTuple):
    """The input itself: a centred tap of 1 a channel, in a window of ``axes`` axes of size 1."""

    channels: int
    groups: int
    axes: int

    def evaluate(self, get: Get) -> Kernel:
        inner = self.channels // self.groups
        weight = np.zeros((self.channels, inner))
        weight[np.arange(self.channels), np.arange(self.channels) % inner] = 1
        return Kernel(weight.reshape(*weight.shape, *(1,) * self.axes), np.zeros(self.channels))


class Normed(NamedTuple):
    """A batch norm behind a layer."""

    layer: Expression
    entry: str
    eps: float

    def evaluate(self, get: Get) -> Kernel:
        weight, bias = self.layer.evaluate(get)
        scale, shift = _norm(get, self.entry, self.eps)
        return Kernel(weight * _leading(scale, weight), bias * scale + shift)


class Scaled(NamedTuple):
    """A factor a channel behind a layer."""

    layer: Expression
    entry: str

    def evaluate(self, get: Get) -> Kernel:
        weight, bias = self.layer.evaluate(get)
        scale = _float64(get, f"{self.entry}.weight")
        return Kernel(weight * _leading(scale, weight), bias * scale)


class Multiplied(NamedTuple):
    """A number as a factor behind a layer."""

    layer: Expression
    factor: float

    def evaluate(self, get: Get) -> Kernel:
        weight, bias = self.layer.evaluate(get)
        return Kernel(weight * self.factor, bias * self.factor)


class Below(NamedTuple):
    """A layer of a block, whose entries have a prefix where the block is called."""

    prefix: str
    layer: Expression

    def evaluate(self, get: Get) -> Kernel:
        return self.layer.evaluate(lambda name: get(self.prefix + name))


class Prenormed(NamedTuple):
    """A batch norm before a layer that does not pad."""

    layer: Expression
    entry: str
    eps: float
    groups: int

    def evaluate(self, get: Get) -> Kernel:
        weight, bias = self.layer.evaluate(get)
        per_group = (self.groups, -1, *weight.shape[1:])
        scale, shift = (
            v.reshape(self.groups, 1, -1, *(1,) * (weight.ndim - 2)) for v in _norm(get, self.entry, self.eps)
        )
        grouped = weight.reshape(per_group)
        bias = bias + (grouped * shift).reshape(len(bias), -1).sum(1)
        return Kernel((grouped * scale).reshape(weight.shape), bias)


class Term(NamedTuple):
    """A branch of a sum: its sign, its layer, and how far its taps stand apart on the grid of the sum's window."""

    sign: int
    layer: Expression
    spread: tuple[int, ...]


class Sum(NamedTuple):
    """Parallel layers as one: their kernels spread, padded with zeros around the centre to the window, and added."""

    terms: tuple[Term, ...]
    window: tuple[int, ...]

    def evaluate(self, get: Get) -> Kernel:
        weight, bias = np.zeros(()), np.zeros(())
        for sign, layer, spread in self.terms:
            kernel = layer.evaluate(get)
            weight = weight + sign * _placed(kernel.weight, spread, self.window)
            bias = bias + sign * kernel.bias
        return Kernel(weight, bias)


def hats(position: Array, size: int) -> Array:
    """The shares of ``size`` grid points, along a new last axis, in taps at ``position`` from the centre.

    By linear interpolation; a tap beyond the grid counts as on its edge.
    """
    reach = size // 2
    distance = np.clip(position, -reach, reach)[..., None] - np.arange(-reach, size - reach)
    share: Array = np.maximum(0, 1 - np.abs(distance))
    return share


def _float64(get: Get, name: str) -> Array:
    return np.asarray(get(name), dtype=np.float64)


def _bias(get: Get, entry: str, given: bool, out_channels: int) -> Array:
    return _float64(get, f"{entry}.bias") if given else np.zeros(out_channels)


def _norm(get: Get, entry: str, eps: float) -> tuple[Array, Array]:
    """A batch norm in eval mode as a factor and a summand a channel."""
    scale = _float64(get, f"{entry}.weight") / np.sqrt(_float64(get, f"{entry}.running_var") + eps)
    shift: Array = _float64(get, f"{entry}.bias") - _float64(get, f"{entry}.running_mean") * scale
    return scale, shift


def _leading(vector: Array, weight: Array) -> Array:
    """A vector along the first axis of a kernel."""
    return vector.reshape(-1, *(1,) * (weight.ndim - 1))


def _placed(weight: Array, spread: tuple[int, ...], window: tuple[int, ...]) -> Array:
    """A kernel in a larger window, centred, its taps ``spread`` apart."""
    if weight.shape[2:] == window:
        return weight
    placed = np.zeros((*weight.shape[:2], *window))
    where = []
    for taps, step, size in zip(weight.shape[2:], spread, window, strict=True):
        first = (size - step * (taps - 1) - 1) // 2
        where.append(slice(first, first + step * (taps - 1) + 1, step))
    placed[(slice(None), slice(None), *where)] = weight
    return placed
