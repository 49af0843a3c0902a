"""The ops that ``torch.nn`` has no module for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from search_spaces.graph import Shape
from search_spaces.ops import binomial


class Add(nn.Module):
    """The sum of all inputs."""

    def forward(self, *inputs: Tensor) -> Tensor:
        total = inputs[0]
        for term in inputs[1:]:
            total = total + term
        return total


class Mul(nn.Module):
    """The product of all inputs, broadcast to the first."""

    def forward(self, *inputs: Tensor) -> Tensor:
        product = inputs[0]
        for factor in inputs[1:]:
            product = product * factor
        return product


class Concat(nn.Module):
    """The inputs side by side along an axis."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=self.dim)


class GlobalAvgPool(nn.Module):
    """The mean over all positions; spatial axes of size 1 stay."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=tuple(range(2, x.dim())), keepdim=True) if x.dim() > 2 else x


class LayerNorm(nn.Module):
    """Normalisation over one axis, with a weight and maybe a bias along it."""

    def __init__(self, size: int, dim: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.size, self.dim, self.eps = (size,), dim, eps

    def forward(self, x: Tensor) -> Tensor:
        if self.dim == x.dim() - 1:
            return nn.functional.layer_norm(x, self.size, self.weight, self.bias, self.eps)
        moved = x.movedim(self.dim, -1)
        return nn.functional.layer_norm(moved, self.size, self.weight, self.bias, self.eps).movedim(-1, self.dim)


class GroupNorm(nn.Module):
    """``torch.nn.GroupNorm`` whose bias can be left out."""

    def __init__(self, groups: int, size: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None
        self.groups, self.eps = groups, eps

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.group_norm(x, self.groups, self.weight, self.bias, self.eps)


class ResponseNorm(nn.Module):
    """Global response normalisation: (weight n + 1) x + bias (Woo et al. 2023, ConvNeXt V2, section 3.2).

    n is the L2 norm of a channel over all positions, over the mean of these norms.
    """

    def __init__(self, size: int, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.dim, self.eps = dim, eps

    def forward(self, x: Tensor) -> Tensor:
        positions = tuple(d for d in range(1, x.dim()) if d != self.dim)
        norm = x.square().sum(positions, keepdim=True).add(1e-12).sqrt()
        factor = norm / (norm.mean(self.dim, keepdim=True) + self.eps)
        shape = [-1 if d == self.dim else 1 for d in range(x.dim())]
        return x + self.weight.view(shape) * factor * x + self.bias.view(shape)


class L2Norm(nn.Module):
    """Division by the L2 norm along an axis."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=self.dim, eps=self.eps)


class SquaredReLU(nn.Module):
    """relu(x)² (So et al. 2021, Primer)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().square()


class StarReLU(nn.Module):
    """scale relu(x)² + bias with two learned scalars (Yu et al. 2022, MetaFormer baselines, section 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.relu().square() + self.bias


class Scale(nn.Module):
    """A learned factor an index of an axis: layer scale, residual scale."""

    def __init__(self, size: int, dim: int, axes: int, init: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), init))
        self.shape = tuple(-1 if d == dim else 1 for d in range(1, axes + 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(self.shape)


class Multiply(nn.Module):
    """The input times a fixed number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Sub(nn.Module):
    """The first input minus the second."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


def _fourier(channels: int, height: int, width: int) -> Tensor:
    """Sines (even channels) and cosines (odd) of the row in the first half of the channels, of the column in the rest.

    Positions run to 2 pi; wavelengths rise to 10000 (Vaswani et al. 2017, section 3.5; Carion et al. 2020, DETR).
    """
    half = channels // 2
    index = torch.arange(half)
    wavelengths = 10000.0 ** (2 * torch.div(index, 2, rounding_mode="floor") / half)

    def along(size: int) -> Tensor:
        position = torch.arange(1, size + 1) / (size + 1e-6) * 2 * torch.pi
        angles = position / wavelengths[:, None]
        return torch.where(index[:, None] % 2 == 0, angles.sin(), angles.cos())

    rows = along(height)[:, :, None].expand(half, height, width)
    columns = along(width)[:, None, :].expand(half, height, width)
    return torch.cat([rows, columns])


_INITS: Mapping[str, Callable[..., Tensor]] = {
    "zeros": torch.zeros,
    "ones": torch.ones,
    "normal": torch.randn,
    "fourier": _fourier,
}


class ParameterTensor(nn.Module):
    """A learned or fixed tensor, the same for every sample of the input."""

    def __init__(self, shape: Shape, init: str, trainable: bool) -> None:
        super().__init__()
        value = _INITS[init](*shape)
        if init == "normal":
            value *= shape[-1] ** -0.5
        if trainable:
            self.value: Tensor = nn.Parameter(value)
        else:
            self.register_buffer("value", value)

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape[0], *self.value.shape)


class GlobalPool(nn.Module):
    """The maximum or the standard deviation (unbiased) over all positions; spatial axes of size 1 stay."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        positions = tuple(range(2, x.dim()))
        if self.kind == "max":
            return x.amax(positions, keepdim=True) if positions else x
        # one position has no deviation, not an undefined one
        return x.std(positions, keepdim=True) if x[0, 0].numel() > 1 else torch.zeros_like(x)


class Reduce(nn.Module):
    """The mean or maximum along an axis, which stays with size 1."""

    def __init__(self, kind: str, dim: int) -> None:
        super().__init__()
        self.kind, self.dim = kind, dim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dim, keepdim=True) if self.kind == "mean" else x.amax(self.dim, keepdim=True)


class MatMul(nn.Module):
    """The product of two activations over their last two axes."""

    def __init__(self, transpose_b: bool) -> None:
        super().__init__()
        self.transpose_b = transpose_b

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ (b.transpose(-1, -2) if self.transpose_b else b)


class Slice(nn.Module):
    """A range of an axis."""

    def __init__(self, dim: int, start: int, stop: int) -> None:
        super().__init__()
        self.dim, self.start, self.size = dim, start, stop - start

    def forward(self, x: Tensor) -> Tensor:
        return x.narrow(self.dim, self.start, self.size)


class Gather(nn.Module):
    """Fixed indices of an axis."""

    indices: Tensor

    def __init__(self, dim: int, indices: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("indices", torch.tensor(indices), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(self.dim, self.indices)


class Reshape(nn.Module):
    """The elements of each sample in another shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.shape)


class Transpose(nn.Module):
    """The axes of each sample in another order."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = (0, *(axis + 1 for axis in axes))

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)


class Pad(nn.Module):
    """Zeros around the spatial axes; a negative amount crops."""

    def __init__(self, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip(reversed(before), reversed(after), strict=True)  # PyTorch begins with the last axis
        self.amounts = [amount for pair in pairs for amount in pair]

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, self.amounts)


class BlurPool(nn.Module):
    """A fixed binomial filter of each channel, with a stride; borders reflected or zero."""

    filters: Tensor

    def __init__(self, channels: int, kernel: tuple[int, ...], stride: tuple[int, ...], reflect: bool) -> None:
        super().__init__()
        taps = torch.ones(())
        for size in kernel:
            taps = taps.unsqueeze(-1) * torch.tensor(binomial(size))
        self.register_buffer("filters", taps.repeat(channels, 1, *(1,) * len(kernel)), persistent=False)
        self.amounts = [amount for size in reversed(kernel) for amount in ((size - 1) // 2, size // 2)]
        self.mode = "reflect" if reflect else "constant"
        self.stride = stride
        self.convolve: Callable[..., Tensor] = getattr(nn.functional, f"conv{len(kernel)}d")

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, self.amounts, mode=self.mode)
        return self.convolve(x, self.filters, stride=self.stride, groups=x.shape[1])


class Resize(nn.Module):
    """Interpolation to a fixed spatial size."""

    def __init__(self, size: tuple[int, ...], mode: str) -> None:
        super().__init__()
        self.size, self.mode = size, mode

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            return nn.functional.interpolate(x, self.size, mode="nearest")
        return nn.functional.interpolate(x, self.size, mode="bilinear", align_corners=self.mode == "bilinear_corners")


class DropPath(nn.Module):
    """Drops a branch for whole samples in training (Huang et al. 2016, stochastic depth)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * keep.to(x.dtype) / (1 - self.p)


class Zeros(nn.Module):
    """Zeros of a fixed shape for every sample of the input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros((x.shape[0], *self.shape))
