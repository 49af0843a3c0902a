"""From sums of unit times to the latency of whole networks, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

LEAST_NETWORKS = 10
"""With fewer, no 90 % quantile exists."""
_FLOOR = 0.1  # the least part of its own time that a unit keeps
_SWEEPS = 20
_RESOLUTION = 0.01  # relative residuals below this count alike in the robust fit


@dataclass(frozen=True, slots=True)
class Calibration:
    """latency = ``call_ms`` + the sum over units of ``scale`` x time - ``call_ms``.

    ``call_ms`` is what a call costs: a network pays it once, and a unit that is timed alone pays it too.
    ``relative_error`` is the 90 % quantile of |measured - predicted| / predicted on networks left out of the fit.
    """

    call_ms: float
    scale: float
    relative_error: float

    def part_ms(self, unit_ms: float) -> float:
        """What one unit adds to a network, above 0."""
        scaled = self.scale * unit_ms
        return max(scaled - self.call_ms, _FLOOR * scaled)

    def network_ms(self, unit_ms: Sequence[float]) -> float:
        """The latency of a network of these units."""
        return self.call_ms + sum(self.part_ms(ms) for ms in unit_ms)


def calibrate(
    networks: Sequence[Sequence[float]], measured_ms: Sequence[float]
) -> tuple[Calibration, NDArray[np.float64]]:
    """The calibration fitted on all networks, and the prediction of each by a fit without it.

    ``networks`` holds the times of the units of each. The error is the conformal quantile of the left-out
    residuals (Barber et al. 2021, arXiv:1905.02928, the leave-one-out residuals of the jackknife).
    Needs at least ``LEAST_NETWORKS``.
    """
    y = np.asarray(measured_ms, dtype=np.float64)
    sums = np.array([[sum(units), 1.0 - len(units)] for units in networks])
    everyone = np.arange(len(y))
    left_out = np.array(
        [_fit(sums[everyone != i], y[everyone != i]).network_ms(units) for i, units in enumerate(networks)]
    )
    fitted = _fit(sums, y)
    error = conformal_quantile(np.abs(y - left_out) / left_out)
    return Calibration(fitted.call_ms, fitted.scale, error), left_out


def conformal_quantile(scores: NDArray[np.float64], coverage: float = 0.9) -> float:
    """The quantile that a new exchangeable score exceeds with probability at most 1 - ``coverage``."""
    rank = ceil((len(scores) + 1) * coverage)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _fit(sums: NDArray[np.float64], y: NDArray[np.float64]) -> Calibration:
    """Least absolute relative residuals, by reweighting; a call that would cost less than nothing costs nothing."""
    scale, call_ms = _robust(sums / y[:, None])
    if call_ms < 0 or scale <= 0:
        (scale,), call_ms = _robust(sums[:, :1] / y[:, None]), 0.0
    return Calibration(float(call_ms), float(scale), 0.0)


def _robust(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The coefficients that bring every row's combination near 1."""
    weight: NDArray[np.float64] = np.ones(len(rows))
    found: NDArray[np.float64] = np.zeros(rows.shape[1])
    for _ in range(_SWEEPS):
        found = np.asarray(np.linalg.lstsq(rows * weight[:, None], weight, rcond=None)[0], dtype=np.float64)
        weight = 1 / np.sqrt(np.maximum(np.abs(rows @ found - 1), _RESOLUTION))
    return found
