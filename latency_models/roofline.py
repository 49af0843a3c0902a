"""The roofline model: how fast a device can at best do the work of a layer, and what holds it back.

Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model for multicore
architectures", with multiply-accumulates (MACs) in place of floating-point operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from latency_models.device import Device
from latency_models.estimate import Source
from latency_models.predictors import LayerEstimate
from search_spaces.errors import DeviceUnavailable

ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Bytes of an element of a tensor by precision."""
OBSERVED_SHARE = 0.01
"""The least part of its network's time that a kernel must take for its rate to count as observed."""
_STORED_BYTES = 4  # a LayerEstimate counts bytes in float32


class Roof(NamedTuple):
    """A device's two ceilings. ``source`` is analytic where they are its facts, predicted where they are
    the best rates that its timed kernels reach (the hardware may reach more).
    """

    peak_macs_per_s: float
    bytes_per_s: float
    source: Source

    @property
    def ridge(self) -> float:
        """MACs per byte from which on the peak is within reach (section 3 of the paper)."""
        return self.peak_macs_per_s / self.bytes_per_s


class Bound(StrEnum):
    """Which ceiling is the lower one at an intensity."""

    COMPUTE = "compute"
    MEMORY = "memory"


class Work(NamedTuple):
    """What one call asks of the device: MACs, and bytes of activations and weights that move."""

    macs: int
    bytes: int

    @property
    def intensity(self) -> float:
        """MACs per byte; 0 where nothing moves."""
        return self.macs / self.bytes if self.bytes else 0.0


def work(layer: LayerEstimate, device: Device) -> Work:
    """The work of a layer in one call of the device: its whole batch, each weight once, in its precision."""
    moved = device.batch_size * layer.bytes_moved + layer.weight_bytes
    return Work(device.batch_size * layer.macs, moved * ELEMENT_BYTES[device.precision] // _STORED_BYTES)


def attainable_macs_per_s(roof: Roof, intensity: float) -> float:
    """The lower ceiling at an intensity (equation 1 of the paper)."""
    return min(roof.peak_macs_per_s, roof.bytes_per_s * intensity)


def bound(roof: Roof, intensity: float) -> Bound:
    """What limits a layer of that intensity."""
    return Bound.COMPUTE if intensity >= roof.ridge else Bound.MEMORY


def ideal_ms(roof: Roof, work: Work) -> float:
    """The time of the work at the ceilings, computing and moving at once."""
    return 1e3 * max(work.macs / roof.peak_macs_per_s, work.bytes / roof.bytes_per_s)


def observed_roof(networks: Iterable[Sequence[LayerEstimate]], device: Device) -> Roof:
    """The best rates of any kernel of some networks.

    A kernel that takes less than ``OBSERVED_SHARE`` of its network's time is left out: its time is mostly error.
    Raises: DeviceUnavailable where no kernel computes.
    """
    macs_per_s = bytes_per_s = 0.0
    for layers in networks:
        least_ms = OBSERVED_SHARE * sum(layer.latency_ms.value for layer in layers)
        for layer in layers:
            if (ms := layer.latency_ms.value) >= least_ms and ms > 0:
                macs, moved = work(layer, device)
                macs_per_s = max(macs_per_s, 1e3 * macs / ms)
                bytes_per_s = max(bytes_per_s, 1e3 * moved / ms)
    if not macs_per_s or not bytes_per_s:
        raise DeviceUnavailable(
            f"no kernel was timed on {device.name} that computes", hint=f"hwnas profile --device {device.name}"
        )
    return Roof(macs_per_s, bytes_per_s, Source.PREDICTED)
