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
_MOST = 0.25  # of a time, that an offset may be


class Drift(NamedTuple):
    """What took t ms takes ``factor`` x t + ``offset_ms``: what a call costs besides computing drifts on its own."""

    factor: float
    offset_ms: float

    def apply(self, then_ms: ArrayLike) -> NDArray[np.float64]:
        """What took ``then_ms`` takes this. The offset is at most a part of it: it says nothing of far faster calls."""
        slower = self.factor * np.asarray(then_ms, dtype=np.float64)
        found: NDArray[np.float64] = slower + np.clip(self.offset_ms, -_MOST * slower, _MOST * slower)
        return found

    def undo(self, now_ms: ArrayLike) -> NDArray[np.float64]:
        """The inverse of ``apply``."""
        now = np.asarray(now_ms, dtype=np.float64)
        least, most = now / (1 + _MOST), now / (1 - _MOST)
        found: NDArray[np.float64] = np.clip(now - self.offset_ms, least, most) / self.factor
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
    if factor <= 0:  # networks that all take the same time say nothing of an offset
        return Drift(float(np.exp(np.median(np.log(now / then)))), 0.0)
    return Drift(factor, offset)
