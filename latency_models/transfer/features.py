"""What networks look like to a device: the sources' latencies, what tables say of them, and the choices themselves.

All features are linear in what they come from and centred, so that a device is a vector of weights on them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS = ("tables", "residuals", "choices")
"""``tables``: what a sum over the choices explains of each source's latency, free of its noise. ``residuals``: the
rest of it. ``choices``: one column for each option of each choice, for what no source shows."""
_RIDGE = 1e-3
_LEAST_SPREAD = 1e-9


class Features(NamedTuple):
    """The parts named in ``PARTS``, each (n, columns); a part may have no column.

    With ``tables`` and ``residuals`` of one source added, the source has variance 1 (times 1/number of sources).
    ``kept``: the sources that have columns; one whose latency never varies says nothing and has none.
    """

    parts: tuple[Floats, ...]
    kept: Ints

    def rows(self, indices: Ints) -> tuple[Floats, ...]:
        """Each part for these networks."""
        return tuple(part[indices] for part in self.parts)


def make_features(encodings: Ints, source_latency_ms: Floats) -> Features:
    """Features of n networks. ``encodings``: (n, choices); ``source_latency_ms``: (n, devices), positive."""
    choices = _one_hot(encodings)
    relative = source_latency_ms / source_latency_ms.mean(axis=0)
    spread = relative.std(axis=0)
    kept = np.flatnonzero(spread > _LEAST_SPREAD)
    sources = (relative[:, kept] - relative[:, kept].mean(axis=0)) / spread[kept] / np.sqrt(max(1, len(kept)))
    gram = choices.T @ choices + _RIDGE * len(choices) / max(1, choices.shape[1]) * np.eye(choices.shape[1])
    tables = choices @ np.linalg.solve(gram, choices.T @ sources)
    return Features((tables, sources - tables, choices), kept)


def _one_hot(encodings: Ints) -> Floats:
    """Centred indicator columns, (n, options), scaled to a total variance of 1; none for what never varies."""
    columns = [
        (encodings[:, choice] == option).astype(np.float64)
        for choice in range(encodings.shape[1])
        for option in np.unique(encodings[:, choice])
        if np.ptp(encodings[:, choice]) > 0
    ]
    if not columns:
        return np.zeros((len(encodings), 0))
    table = np.stack(columns, axis=1)
    table -= table.mean(axis=0)
    scaled: Floats = table / np.sqrt(table.var(axis=0).sum())
    return scaled
