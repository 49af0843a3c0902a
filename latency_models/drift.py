"""How a machine's speed has changed between two timings of the same networks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_FOR_OFFSET = 16
"""With fewer networks only the factor is fitted."""
_SWEEPS = 30
_HUBER = 2.2  # in median absolute deviations; what is further off counts less
_RESOLUTION = 1e-4


class Drift(NamedTuple):
    """What took t ms takes ``factor`` x t + ``offset_ms``: what a call costs besides computing drifts on its own.

    Below ``fastest_ms``, the fastest call that was seen, an offset would be an extrapolation: the ratio there holds.
    """

    factor: float
    offset_ms: float
    fastest_ms: float = 0.0

    def apply(self, then_ms: ArrayLike) -> NDArray[np.float64]:
        """What took ``then_ms`` takes this."""
        then = np.asarray(then_ms, dtype=np.float64)
        known = np.maximum(then, self.fastest_ms)
        found: NDArray[np.float64] = (self.factor * known + self.offset_ms) * (then / known)
        return found

    def undo(self, now_ms: ArrayLike) -> NDArray[np.float64]:
        """The inverse of ``apply``."""
        now = np.asarray(now_ms, dtype=np.float64)
        known = np.maximum(now, self.factor * self.fastest_ms + self.offset_ms)
        found: NDArray[np.float64] = (known - self.offset_ms) / self.factor * (now / known)
        return found


def fit_drift(now_ms: ArrayLike, then_ms: ArrayLike) -> Drift:
    """The drift between two timings of the same networks, relative errors least, outliers counting less."""
    now, then = np.asarray(now_ms, dtype=np.float64), np.asarray(then_ms, dtype=np.float64)
    if len(now) < LEAST_FOR_OFFSET:
        return Drift(float(np.exp(np.median(np.log(now / then)))), 0.0)
    columns = np.stack([then, np.ones_like(then)], axis=1) / now[:, None]
    weight = np.ones(len(now))
    for _ in range(_SWEEPS):
        found = np.linalg.lstsq(columns * weight[:, None], weight, rcond=None)[0]
        off = np.abs(columns @ found - 1)
        limit = max(_HUBER * float(np.median(off)), _RESOLUTION)
        weight = np.sqrt(np.minimum(1.0, limit / np.maximum(off, _RESOLUTION)))
    factor, offset = map(float, found)
    fastest = float(then.min())
    if min(factor, factor * fastest + offset) <= 0:  # networks that all take the same time say nothing of an offset
        return Drift(float(np.exp(np.median(np.log(now / then)))), 0.0)
    return Drift(factor, offset, fastest)
