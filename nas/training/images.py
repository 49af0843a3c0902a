"""Images as tensors: resizing and light augmentation, on whole batches."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MAX_ROTATION = math.radians(5)
MAX_ZOOM = 0.05
MAX_SHIFT = 1 / 16
"""Of the image's side: half a pixel of eight. Twice as much costs small networks two points in 30 epochs."""


def to_size(images: NDArray[np.float32], size: tuple[int, ...]) -> Tensor:
    """(n, c, h, w) resized to (height, width), bilinear, antialiased where it shrinks; channels last."""
    tensor = torch.tensor(images)
    if tensor.shape[2:] != size:
        shrinks = size[0] < tensor.shape[2] or size[1] < tensor.shape[3]
        tensor = F.interpolate(tensor, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
    return tensor.contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """Rotates, zooms and shifts every image; no flips, which would turn one digit into another.

    ``draws`` (n, 4) in -1..1: rotation, zoom, horizontal and vertical shift. The border is extended.
    """
    angle, zoom = draws[:, 0] * MAX_ROTATION, 1 + draws[:, 1] * MAX_ZOOM
    shift = 2 * MAX_SHIFT * draws[:, 2:]  # the grid runs from -1 to 1
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)
