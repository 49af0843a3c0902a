"""Timing on a machine that others use too: interleaved rounds, a low percentile, and a reference beside it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from resource import RUSAGE_SELF, getrusage

import numpy as np
from numpy.typing import NDArray

from latency_models.device import Device
from latency_models.estimate import Estimate, Source
from latency_models.lock import measurement_lock
from latency_models.runtimes import Run, loader
from search_spaces.builder import Builder

PERCENTILE = 10
"""Other work only adds time, so a low percentile repeats better than the median; the least is one lucky run."""
_MAX_RUNS_PER_ROUND = 200
_WARM_RUN_S = 0.01  # slower models do not gain from one more run before the clock starts
_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Protocol:
    """How models are timed. ``model_s`` bounds the time spent on one (its load and first runs apart).

    ``chunk`` models are loaded at once; within a chunk every round times each of them in turn.
    """

    rounds: int = 15
    least_rounds: int = 4
    model_s: float = 0.5
    chunk: int = 24


@dataclass(slots=True)
class _Timed:
    run: Run
    once_s: float
    rounds: list[NDArray[np.int64]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timings:
    """Estimates of the first models, in order (fewer than asked if time ran out), and what the reference took.

    ``reference_ms`` holds one value a chunk: how much it varies shows how steady the machine was. Times are
    not corrected by it: on a loaded machine that made repeated timings agree less.
    """

    estimates: list[Estimate]
    reference_ms: list[float]


def measure_latency_ms(model_bytes: Sequence[bytes], device: Device, *, seed: int = 0) -> list[Estimate]:
    """Milliseconds of one call of each ONNX model, with the half-width of the 90 % interval.

    About half a second a model. Raises: DeviceUnavailable, InvalidGraph.
    """
    return time_models([partial(bytes, model) for model in model_bytes], device, seed=seed).estimates


def time_models(
    models: Sequence[Callable[[], bytes]],
    device: Device,
    *,
    seed: int = 0,
    protocol: Protocol | None = None,
    deadline: float | None = None,
    least: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Timings:
    """Times models that are made when their chunk comes. Another process that measures is waited for.

    Stops before a chunk when ``should_stop()``, or once ``time.monotonic()`` has passed ``deadline`` and
    ``least`` models were timed. Raises: DeviceUnavailable, InvalidGraph.
    """
    protocol = protocol or Protocol()
    rng = np.random.default_rng(seed)
    load = loader(device.runtime)
    estimates: list[Estimate] = []
    reference_ms: list[float] = []
    for start in range(0, len(models), protocol.chunk):
        if should_stop() or (deadline is not None and start >= least and time.monotonic() > deadline):
            break
        chunk = models[start : start + protocol.chunk]
        with measurement_lock(), _no_collection():
            made = [*(make() for make in chunk), _reference(device)]
            timed = [_first_runs(load(model, device, seed=seed)) for model in made]
            _time_rounds(timed, protocol)
        *found, reference = [_estimate(t.rounds, rng) for t in timed]
        estimates += found
        reference_ms.append(reference.value)
        on_progress(len(estimates), len(models))
    return Timings(estimates, reference_ms)


def _first_runs(run: Run) -> _Timed:
    run()
    start = time.perf_counter_ns()
    run()
    return _Timed(run, (time.perf_counter_ns() - start) / 1e9)


def _time_rounds(timed: list[_Timed], protocol: Protocol) -> None:
    rounds = [
        max(protocol.least_rounds, min(protocol.rounds, int(protocol.model_s / max(t.once_s, 1e-6)))) for t in timed
    ]
    for number in range(protocol.rounds):
        for model, wanted in zip(timed, rounds, strict=True):
            # a slow model runs in fewer rounds, spread over all of them
            if number * wanted // protocol.rounds != (number - 1) * wanted // protocol.rounds:
                model.rounds.append(_time_once(model, protocol.model_s / wanted))


def _time_once(model: _Timed, seconds: float) -> NDArray[np.int64]:
    """Nanoseconds of each run. Where another process took the core meanwhile, the time on the core counts."""
    run, clock = model.run, time.perf_counter_ns
    if model.once_s < _WARM_RUN_S:
        run()
    count = max(1, min(_MAX_RUNS_PER_ROUND, int(seconds / max(model.once_s, 1e-6))))
    took = np.empty(count, dtype=np.int64)
    before = getrusage(RUSAGE_SELF)
    for i in range(count):
        start = clock()
        run()
        took[i] = clock() - start
        after = getrusage(RUSAGE_SELF)
        if after.ru_nivcsw != before.ru_nivcsw:
            took[i] = min(took[i], 1e9 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        before = after
    return took


def _estimate(rounds: list[NDArray[np.int64]], rng: np.random.Generator) -> Estimate:
    """The percentile over all runs; the interval from resampling whole rounds, whose runs are not independent."""
    value = float(np.percentile(np.concatenate(rounds), PERCENTILE))
    picks = rng.integers(len(rounds), size=(_RESAMPLES, len(rounds)))
    spread = [np.percentile(np.concatenate([rounds[i] for i in pick]), PERCENTILE) for pick in picks]
    low, high = np.percentile(spread, [5, 95])
    return Estimate(value / 1e6, float(max(high - value, value - low)) / 1e6, Source.MEASURED)


@lru_cache(maxsize=8)
def _reference(device: Device) -> bytes:
    """A small convolution that does not change from one measurement to the next."""
    from search_spaces.onnx_graph import to_onnx

    b = Builder([(16, 8, 8)])
    graph = b.build(b.conv("conv", b.inputs[0], 16, 3, bias=True))
    model: bytes = to_onnx(graph, batch=device.batch_size).SerializeToString()
    return model


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
