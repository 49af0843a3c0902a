"""How good predictions are, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def accuracy_report(predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> dict[str, Any]:
    """Relative errors |predicted - measured| / measured (fractions), rank correlation, and the error of a constant.

    The constant predicted for a network is the median of the other networks.
    """
    p, y = np.asarray(predicted_ms, dtype=np.float64), np.asarray(measured_ms, dtype=np.float64)
    error = np.abs(p - y) / y
    constant = np.array([np.median(np.delete(y, i)) for i in range(len(y))])
    return {
        "networks": len(y),
        "within_5": float(np.mean(error <= 0.05)),
        "within_10": float(np.mean(error <= 0.10)),
        "mean_error": float(error.mean()),
        "median_error": float(np.median(error)),
        "p95_error": float(np.percentile(error, 95)),
        "spearman": spearman(p, y),
        "constant_median_error": float(np.median(np.abs(constant - y) / y)),
        "fastest_ms": float(y.min()),
        "slowest_ms": float(y.max()),
    }


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where one side does not vary."""
    ra, rb = _ranks(a), _ranks(b)
    if np.ptp(ra) == 0 or np.ptp(rb) == 0:
        return 0.0
    return float(np.corrcoef(ra, rb)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[position]
    return ranks
