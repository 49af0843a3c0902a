"""Timing on a machine that others use too: many short visits in turn, the middle of the samples, references beside.

Where other work shares the physical cores a run takes up to twice its time, and how often that happens changes all
the time. A low percentile then waits for luck; the middle of many short visits repeats within a percent, up to a
drift that all models of a chunk share. References, visited as often, show the drift, and it is taken out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latency_models.device import Device, cpu_model
from latency_models.estimate import Estimate, Source
from latency_models.runtimes import (
    RUNTIMES,
    Build,
    builder,
    runtime_version,
)
from latency_models.timing import Effort, Machine, Samples, Timer, Workload, stopped
from latency_models.timing_process import time_files
from search_spaces.builder import Builder, Value
from search_spaces.errors import DeviceUnavailable, InvalidSpec
from search_spaces.graph import Graph

MIDDLE = (0.2, 0.9)
"""The part of the sorted samples whose mean is the estimate."""
REFERENCE_COPIES = 4
"""Each reference is there so often: the drift must be known better than the time of one network."""
THOROUGH = Effort(visits=34, loads=3)
"""For networks that are to be known as well as they can be: those that a search ends with, and those exported."""
_REFERENCE_MACS = 500_000_000  # of one call, so that references take little of the time
_MEDIAN = 1.2  # how much more the median of some normal values varies than their mean
_LOADS_APART = 1_000_003  # between the seeds of two loads
_KEPT_BYTES = 1 << 30  # of files that take long to build
_GROUPS = 10
_T90 = 1.83  # half-width of the 90 % interval in standard errors, for ten groups (Student)


class Timed(NamedTuple):
    """What one network took, and what the references took beside it, all in milliseconds as they came."""

    estimate: Estimate
    reference_ms: tuple[float, ...]

    def factor(self, level_ms: Sequence[float]) -> float:
        """How much longer things took with the references at ``level_ms``."""
        return float(np.exp(np.mean(np.log(np.asarray(level_ms) / np.asarray(self.reference_ms)))))

    def at(self, level_ms: Sequence[float]) -> Estimate:
        """The estimate as it would be with the references at ``level_ms``: the drift between is taken out."""
        factor = self.factor(level_ms)
        value, error = self.estimate.value * factor, (self.estimate.error or 0.0) * factor
        return Estimate(value, error, Source.MEASURED, self.estimate.note)


def level_of(timings: Sequence[Timed]) -> tuple[float, ...]:
    """The references' usual times: the median of each over all chunks."""
    rows = sorted({timed.reference_ms for timed in timings})
    return tuple(float(x) for x in np.median(np.array(rows), axis=0))


def measure_latency_ms(
    workloads: Sequence[Workload],
    timer: Timer,
    *,
    effort: Effort | None = None,
    level_ms: Sequence[float] | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Estimate]:
    """Milliseconds of one call of each deployed network, with the half-width of the 90 % interval.

    Drift between the chunks is taken out; with the ``level_ms`` of a profile, also that since the profile.
    Raises: DeviceUnavailable, InvalidGraph, UnsupportedKernel, MeasuringStopped.
    """
    timed = time_workloads(workloads, timer, effort=effort, seed=seed, should_stop=should_stop)
    level = level_ms if level_ms is not None else level_of(timed) if timed else ()
    return [t.at(level) for t in timed]


def time_workloads(
    workloads: Sequence[Workload],
    timer: Timer,
    *,
    effort: Effort | None = None,
    seed: int = 0,
    on_chunk: Callable[[int, list[Timed]], None] = lambda start, timed: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Timed]:
    """Times networks chunk by chunk, the references in each; ``on_chunk(start, timed)`` is told of every chunk."""
    effort = effort or THOROUGH
    found: list[Timed] = []
    graphs = reference_graphs(timer.device.batch_size)
    references = [Workload(graph) for graph in graphs for _ in range(REFERENCE_COPIES)]
    for start in range(0, len(workloads), effort.chunk):
        if should_stop():
            raise stopped()
        chunk = [*references, *workloads[start : start + effort.chunk]]
        loads = []
        for load in range(effort.loads):
            samples = timer.time(chunk, effort=effort, seed=seed + start + _LOADS_APART * load, should_stop=should_stop)
            estimates = [estimate(each) for each in samples]
            logs = np.log([e.value for e in estimates[: len(references)]]).reshape(len(graphs), REFERENCE_COPIES)
            beside = tuple(np.exp(logs.mean(axis=1)).tolist())
            loads.append([Timed(e, beside) for e in estimates[len(references) :]])
        timed = _joined(loads)
        found += timed
        on_chunk(start, timed)
    return found


def _joined(loads: Sequence[Sequence[Timed]]) -> list[Timed]:
    """The median of all loads of a chunk, without the drift between them: some are 10 % off.

    Its interval is that of the visits, or that of how much the loads of all networks disagree, whichever is wider.
    """
    if len(loads) == 1 or not loads[0]:
        return list(loads[0])
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # Student's quantile

    count = len(loads)
    level = np.exp(np.log([load[0].reference_ms for load in loads]).mean(axis=0))
    each = [[timed.at(level) for timed in load] for load in loads]
    logs = np.log([[e.value for e in load] for load in each])
    values = np.exp(np.median(logs, axis=0))
    spread = _MEDIAN * float(np.sqrt(logs.var(axis=0, ddof=1).mean() / count))
    between = spread * float(stdtrit(logs.shape[1] * (count - 1), 0.95))
    within = np.sqrt(np.mean([[((e.error or 0.0) / e.value) ** 2 for e in load] for load in each], axis=0) / count)
    beside = tuple(level.tolist())
    return [
        Timed(Estimate(float(value), float(value) * max(float(own), between), Source.MEASURED), beside)
        for value, own in zip(values, within, strict=True)
    ]


def estimate(samples: Samples) -> Estimate:
    """The mean of the middle of all runs; its interval from how much groups of successive visits disagree.

    Raises: InvalidSpec for no visit, an empty one, or a time that is not a positive finite number.
    """
    if not samples or not all(samples):
        raise InvalidSpec("samples: a visit without a run", hint="one run a visit at least", field="samples")
    visits = [np.asarray(visit, dtype=np.float64) for visit in samples]
    runs = np.concatenate(visits)
    if not np.all(np.isfinite(runs)) or runs.min() <= 0:
        raise InvalidSpec("samples: a time is no positive number", hint="nanoseconds above 0", field="samples")
    bounds = np.linspace(0, len(visits), min(_GROUPS, len(visits)) + 1).astype(int)
    groups = [np.concatenate(visits[a:b]) for a, b in pairwise(bounds)]
    value = _middle(runs)
    spread = float(np.std([_middle(g) for g in groups], ddof=1)) if len(groups) > 1 else value
    return Estimate(value / 1e6, _T90 * spread / sqrt(len(groups)) / 1e6, Source.MEASURED)


def _middle(runs: NDArray[np.float64]) -> float:
    low, high = (round(share * len(runs)) for share in MIDDLE)
    return float(np.sort(runs)[low : max(high, low + 1)].mean())


class LocalTimer:
    """This machine: a new process for every chunk. Another process that measures is waited for."""

    def __init__(self, device: Device, build: Build | None = None) -> None:
        """``build``: makes a runtime's file in place of the runtime's own, from a store of files for example."""
        if not device.is_local:
            raise DeviceUnavailable(f"{device.name} is not this machine", hint="its name begins with local-")
        self.device = device
        self._build = build
        self._files: dict[tuple[int, int], tuple[Workload, bytes]] = {}  # of what is loaded several times

    def machine(self) -> Machine:
        """See ``Timer``."""
        return Machine(cpu_model(), runtime_version(self.device.runtime))

    def time(
        self,
        workloads: Sequence[Workload],
        *,
        effort: Effort,
        seed: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Samples]:
        """See ``Timer``."""
        often = Counter(_identity(work) for work in workloads)
        slow = RUNTIMES[self.device.runtime].slow_build
        self._forget(often, _KEPT_BYTES if slow else 0)
        if slow:
            self._build_apart(workloads, should_stop)
        own_layout = RUNTIMES[self.device.runtime].own_layout

        def models() -> Iterator[tuple[bytes, bool]]:
            for work in workloads:
                if should_stop():
                    raise stopped()
                file = self._file(work, keep=slow or effort.loads > 1 or often[_identity(work)] > 1)
                yield file, own_layout and work.part

        count = len(workloads)
        return time_files(models(), count, self.device, effort=effort, seed=seed, should_stop=should_stop)

    def _forget(self, wanted: Collection[tuple[int, int]], most_bytes: int) -> None:
        """Drops the oldest of the files that are not wanted now, until the others hold no more than that."""
        others = {key: len(file) for key, (_, file) in self._files.items() if key not in wanted}
        held = sum(others.values())
        for key, size in others.items():
            if held <= most_bytes:
                return
            del self._files[key]
            held -= size

    def _build_apart(self, workloads: Sequence[Workload], should_stop: Callable[[], bool]) -> None:
        """Builds the files that are missing in as many processes as there are processors."""
        from joblib import Parallel, cpu_count, delayed  # type: ignore[import-untyped]

        missing = {_identity(work): work for work in workloads if _identity(work) not in self._files}
        processes = min(cpu_count(), len(missing))
        if processes < 2:
            return
        build = self._build or builder(self.device.runtime)
        calls = (delayed(build)(work.graph, work.weights, self.device) for work in missing.values())
        files = Parallel(n_jobs=processes, return_as="generator")(calls)
        for (key, work), file in zip(missing.items(), files, strict=True):
            self._files[key] = work, file
            if should_stop():
                raise stopped()

    def _file(self, work: Workload, keep: bool) -> bytes:
        known = self._files.get(_identity(work))
        if known is not None:
            return known[1]
        file = (self._build or builder(self.device.runtime))(work.graph, work.weights, self.device)
        if keep:
            self._files[_identity(work)] = work, file  # the workload, so that its identity stays its own
        return file


def _identity(work: Workload) -> tuple[int, int]:
    return id(work.graph), id(work.weights)


@lru_cache(maxsize=32)
def reference_graphs(batch_size: int) -> tuple[Graph, ...]:
    """Small networks that never change, alike to what is timed: a layer, a block and two short networks."""
    size = max(4, round(28 / sqrt(batch_size)))
    graphs = (
        _reference(16, 8, lambda b, x: b.conv("conv", x, 16, 3, bias=True)),
        _reference(32, size, lambda b, x: _inverted(b, "block", x, 32)),
        _reference(48, max(4, size // 2), lambda b, x: _chain(b, x, 48, 4)),
        _reference(96, max(4, size // 4), lambda b, x: _chain(b, x, 160, 5)),
    )
    return (graphs[0], *(graph for graph in graphs[1:] if batch_size * graph.macs <= _REFERENCE_MACS))


def _reference(channels: int, size: int, body: Callable[[Builder, Value], Value]) -> Graph:
    b = Builder([(channels, size, size)])
    return b.build(body(b, b.inputs[0]))


def _chain(b: Builder, x: Value, channels: int, depth: int) -> Value:
    for i in range(1, depth + 1):
        x = _inverted(b, f"layer{i}", x, channels)
    return x


def _inverted(b: Builder, name: str, x: Value, channels: int) -> Value:
    inner = 6 * x.shape[0]
    y = b.op(f"{name}.act1", "relu6", b.conv(f"{name}.expand", x, inner, 1, bias=True))
    y = b.op(f"{name}.act2", "relu6", b.conv(f"{name}.depthwise", y, inner, 3, groups=inner, bias=True))
    return b.conv(f"{name}.project", y, channels, 1, bias=True)
