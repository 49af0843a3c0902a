"""What comes in, checked: every error names the field, what was wrong and what would be right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latency_models.transfer.features import Floats, Ints
from search_spaces.errors import InvalidSpec

LEAST_SAMPLES = 2
MAX_OPTIONS = 2_000
"""Options of all choices together; what has more is no choice but a number or a name."""


def check_networks(encodings: ArrayLike, source_latency_ms: ArrayLike) -> tuple[Ints, Floats]:
    """The networks' encodings (n, choices) and latencies (n, devices). Raises: InvalidSpec."""
    codes = _integers(encodings, "encodings", 2)
    if len(codes) < LEAST_SAMPLES:
        raise InvalidSpec(f"encodings: {len(codes)} networks", hint=f"{LEAST_SAMPLES} at least", field="encodings")
    options = sum(len(np.unique(column)) for column in codes.T)
    if options > MAX_OPTIONS:
        raise InvalidSpec(
            f"encodings: {options} options in {codes.shape[1]} choices",
            hint=f"at most {MAX_OPTIONS}; a column is one choice, its value the index of the option",
            field="encodings",
        )
    sources = _latencies(source_latency_ms, "source_latency_ms", 2)
    if len(sources) != len(codes):
        raise InvalidSpec(
            f"source_latency_ms: {len(sources)} rows for {len(codes)} networks",
            hint="one row a network, one column a device; (n, 0) where no device is known",
            field="source_latency_ms",
        )
    return codes, sources


def check_count(k: int, networks: int) -> int:
    """How many networks to choose. Raises: InvalidSpec."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise InvalidSpec(f"k: {k!r}", hint="a whole number of networks", field="k")
    if not LEAST_SAMPLES <= k <= networks:
        raise InvalidSpec(f"k: {k} of {networks} networks", hint=f"from {LEAST_SAMPLES} to {networks}", field="k")
    return int(k)


def check_seed(seed: int) -> int:
    """A seed. Raises: InvalidSpec."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InvalidSpec(f"seed: {seed!r}", hint="a whole number from 0", field="seed")
    return int(seed)


def check_indices(indices: ArrayLike, networks: int) -> Ints:
    """Rows of the networks, (m,). Raises: InvalidSpec."""
    rows = _integers(indices, "indices", 1)
    for place in np.flatnonzero((rows < 0) | (rows >= networks))[:1]:
        raise InvalidSpec(
            f"indices.{place}: {rows[place]} is no row of {networks} networks",
            hint=f"from 0 to {networks - 1}",
            field=f"indices.{place}",
        )
    return rows


def check_samples(indices: ArrayLike, latency_ms: ArrayLike, networks: int) -> tuple[Ints, Floats]:
    """The networks timed and what each took, (k,) both. Raises: InvalidSpec."""
    rows, times = check_indices(indices, networks), _latencies(latency_ms, "latency_ms", 1)
    if len(rows) != len(times):
        raise InvalidSpec(
            f"latency_ms: {len(times)} times for {len(rows)} indices", hint="one time an index", field="latency_ms"
        )
    if len(rows) < LEAST_SAMPLES:
        raise InvalidSpec(f"indices: {len(rows)} networks", hint=f"{LEAST_SAMPLES} at least", field="indices")
    unique, first = np.unique(rows, return_index=True)
    if len(unique) < len(rows):
        place = int(np.setdiff1d(np.arange(len(rows)), first)[0])
        raise InvalidSpec(
            f"indices.{place}: network {rows[place]} twice",
            hint="each network once, with the mean of its times",
            field=f"indices.{place}",
        )
    return rows, times


def _integers(values: ArrayLike, field: str, dimensions: int) -> Ints:
    array = _array(values, field, dimensions)
    if array.size and array.dtype.kind not in "iu":
        raise InvalidSpec(f"{field}: entries of type {array.dtype}", hint="whole numbers", field=field)
    return array.astype(np.int64)


def _latencies(values: ArrayLike, field: str, dimensions: int) -> Floats:
    array = _array(values, field, dimensions)
    if array.dtype.kind not in "iuf":
        raise InvalidSpec(f"{field}: entries of type {array.dtype}", hint="milliseconds", field=field)
    array = array.astype(np.float64)
    for place in np.argwhere(~(np.isfinite(array) & (array > 0)))[:1]:
        at = ".".join([field, *map(str, place)])
        raise InvalidSpec(f"{at}: {array[tuple(place)]}", hint="milliseconds, finite and above 0", field=at)
    return array


def _array(values: ArrayLike, field: str, dimensions: int) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidSpec(f"{field}: rows of different lengths", hint="one length for all", field=field) from error
    if array.ndim != dimensions:
        raise InvalidSpec(f"{field}: {array.ndim} dimensions", hint=f"an array of {dimensions} dimensions", field=field)
    return array
