"""Modules with learned positions, and with weights or positions that depend on the input."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.graph import Attrs


def hats(position: Tensor, size: int) -> Tensor:
    """The shares of ``size`` grid points, along a new last axis, in taps at ``position`` from the centre.

    By linear interpolation. A tap beyond the grid counts as on its edge, and its gradient still leads it back.
    """
    reach = size // 2
    inside = position + (position.clamp(-reach, reach) - position).detach()
    grid = torch.arange(-reach, size - reach, device=position.device, dtype=position.dtype)
    return (1 - (inside[..., None] - grid).abs()).clamp(min=0)


class SpacedConv(nn.Module):
    """Convolution with learned positions of its taps (Khalfaoui-Hassani et al. 2023, DCLS, section 3).

    Every tap is spread over its four neighbours on the window's grid, and an ordinary convolution follows.
    """

    def __init__(self, in_channels: int, attrs: Attrs) -> None:
        super().__init__()
        inner = in_channels // attrs["groups"]
        taps = (attrs["out_channels"], inner, attrs["taps"])
        bound = 1 / sqrt(inner * attrs["taps"])
        self.weight = nn.Parameter(torch.empty(taps).uniform_(-bound, bound))
        self.position = nn.Parameter(torch.empty(2, *taps).normal_(std=0.5))
        self.bias = nn.Parameter(torch.empty(taps[0]).uniform_(-bound, bound)) if attrs["bias"] else None
        self.window, self.stride = attrs["kernel"], attrs["stride"]
        self.padding, self.groups = attrs["padding"], attrs["groups"]

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (hats(p, size) for p, size in zip(self.position, self.window, strict=True))
        kernel = (self.weight[..., None] * rows).transpose(-1, -2) @ columns
        return F.conv2d(x, kernel, self.bias, self.stride, self.padding, groups=self.groups)


class SparseShift(nn.Module):
    """Shift of each channel by a learned displacement (Chen et al. 2019, "All You Need is a Few Shifts", section 3.2).

    Rounded on the way forward, positions that become free are 0; the gradient of the displacement is that of
    bilinear interpolation at the real value (equations 5 to 9).
    """

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        self.displacement = nn.Parameter(torch.empty(2, channels).uniform_(-reach, reach))
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        real = self._kernel(self.displacement)
        kernel = real + (self._kernel(self.displacement.detach().round()) - real).detach()
        return F.conv2d(x, kernel, padding=self.reach, groups=x.shape[1])

    def _kernel(self, displacement: Tensor) -> Tensor:
        rows, columns = (hats(d, 2 * self.reach + 1) for d in displacement)
        return (rows[:, :, None] * columns[:, None, :])[:, None]


class DynamicConv(nn.Module):
    """Depthwise convolution with weights for each position (Wang et al. 2025, LSNet, section 3.2)."""

    def __init__(self, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        rows, columns = self.kernel
        groups = weights.shape[1] // (rows * columns)
        weights = weights.reshape(batch, 1, groups, rows * columns, height, width)
        padded = F.pad(x, (columns // 2, columns // 2, rows // 2, rows // 2))
        total = torch.zeros_like(x).reshape(batch, -1, groups, height, width)
        for tap in range(rows * columns):
            row, column = divmod(tap, columns)
            moved = padded[:, :, row : row + height, column : column + width]
            total = total + moved.reshape(total.shape) * weights[:, :, :, tap]
        return total.reshape(x.shape)


class Polyphase(nn.Module):
    """The polyphase component of the largest L2 norm, for each sample (Chaman and Dokmanic 2021, section 4.1)."""

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        components = _components(x)
        chosen_by = components if guide is None else _components(guide)
        index = chosen_by.flatten(2).square().sum(2).argmax(1)
        return torch.take_along_dim(components, index.view(-1, *(1,) * x.dim()), 1).squeeze(1)


def _components(x: Tensor) -> Tensor:
    """(batch, channels, *spatial) as (batch, components, channels, *halves)."""
    parts = [x]
    for dim in range(2, x.dim()):
        if x.shape[dim] % 2:
            parts = [torch.cat([part, part.narrow(dim, 0, 1)], dim) for part in parts]
        every = (slice(None),) * dim
        parts = [part[(*every, slice(start, None, 2))] for part in parts for start in (0, 1)]
    return torch.stack(parts, 1)
