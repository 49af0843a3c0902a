"""How a profile comes about: units timed alone, whole networks, and a composition that joins the two.

Everything timed is kept in a ``KernelStore`` at once, so that a profile that was interrupted continues.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_models.drift import fit_drift
from latency_models.estimate import Estimate
from latency_models.kernel_rules import rules_of
from latency_models.kernel_store import KernelStore
from latency_models.kernels import Unit, families, features
from latency_models.measure import Timed, level_of, time_workloads
from latency_models.predictors.composition import LEAST_NETWORKS, Composition, compose
from latency_models.predictors.table import UnitRecord, UnitTable
from latency_models.profile_choice import Drawn, by_use_and_size, count_units, draw_networks, spread_networks
from latency_models.profile_file import NetworkRecord, Profile, load_profile, save_profile
from latency_models.report import accuracy_report
from latency_models.timing import Effort, MeasuringStopped, Timer, Workload
from search_spaces.architecture import SearchSpace, check_task
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec
from search_spaces.graph import Graph
from search_spaces.task import Task

__all__ = ["NetworkRecord", "Profile", "ProfilingStopped", "load_profile", "profile_device", "save_profile"]

Floats = NDArray[np.float64]

ProfilingStopped = MeasuringStopped
"""The caller asked to stop; what was timed is in the store."""

MOST_NETWORKS = 320
MOST_UNITS = 1500
REPEATED = 20
"""Networks timed twice, over the range of latencies: how well measuring repeats, and what later drift is seen by."""
_LEAST_REPEATED = 5
_DRAW_SHARE = 0.08
_UNIT_SHARE = 0.35
_AGAIN_SHARE = 0.08
"""Parts of the time for drawing networks, for timing units alone, and for timing some networks again."""
_UNITS = Effort(visits=50, visit_s=0.0006, chunk=400)
_NETWORKS = Effort(visits=50, visit_s=0.003, chunk=48)  # small chunks, for the machine is another one every minute
_LONG_MINUTES = 3.0
"""A shorter profile has fewer visits of each network, for it needs some networks more than it needs exact ones."""
_LEAST_VISITS = 12
_SHRINK = 8  # as many networks more would be needed to believe a chunk's shared error whole
_FIRST_CHUNK = 8


@dataclass
class _Session:
    """One profiling run: what it times with, what is known already, and whom it tells."""

    timer: Timer
    store: KernelStore
    seed: int
    ends: float
    total_s: float
    on_progress: Callable[[int, int], None]
    should_stop: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    chunks: int = 0
    takes_s: dict[Effort, float] = field(default_factory=dict)

    def fitting(self, effort: Effort, until: float) -> int:
        """How many can be timed until then, as far as is known; a first chunk where nothing is."""
        takes_s = self.takes_s.get(effort)
        return _FIRST_CHUNK if takes_s is None else max(0, int((until - time.monotonic()) / takes_s))

    def tell(self) -> None:
        self.on_progress(min(round(time.monotonic() - self.started), round(self.total_s)), round(self.total_s))

    def time(self, wanted: Mapping[str, Workload], effort: Effort, until: float, least: int) -> None:
        """Times what is not in the store, chunk by chunk until the time is up, ``least`` in any case.

        The very first chunk is small and shows what one takes; later ones are as long as the time allows.
        """
        missing = [(key, work) for key, work in wanted.items() if self.store.get(key) is None]
        known, start = len(wanted) - len(missing), 0
        while start < len(missing):
            self.check()
            left_s = until - time.monotonic()
            if left_s <= 0 and known + start >= least:
                return
            chunk = missing[start : start + max(_FIRST_CHUNK, min(effort.chunk, self.fitting(effort, until)))]
            self.chunks += 1
            began = time.monotonic()
            timed = time_workloads(
                [work for _, work in chunk],
                self.timer,
                effort=replace(self.scaled(effort), chunk=len(chunk)),
                seed=self.seed + self.chunks,
                should_stop=self.should_stop,
            )
            self.store.put((key, each) for (key, _), each in zip(chunk, timed, strict=True))
            start += len(chunk)
            self.takes_s[effort] = (time.monotonic() - began) / len(chunk)
            self.tell()

    def scaled(self, effort: Effort) -> Effort:
        """With fewer visits in a short profile."""
        visits = max(_LEAST_VISITS, round(effort.visits * min(1.0, self.total_s / 60 / _LONG_MINUTES)))
        return replace(effort, visits=visits)

    def check(self) -> None:
        if self.should_stop():
            raise ProfilingStopped("profiling was stopped", hint="start it again: what was timed is kept")


def profile_device(
    timer: Timer,
    space: SearchSpace,
    task: Task,
    *,
    store: KernelStore | None = None,
    seed: int = 0,
    minutes: float = 8.0,
    networks: int = MOST_NETWORKS,
    max_units: int = MOST_UNITS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Profile:
    """Times units of a space alone and some of its networks, in about ``minutes``.

    Which units: the most used, and a spread over the sizes; the rest is modelled. Which networks: evenly over the
    range of latencies, there those with most in them that was not timed. ``on_progress`` is told seconds.
    What the ``store`` holds is not timed again.
    Raises: DeviceUnavailable, InvalidSpec, ProfilingStopped, StorageFull.
    """
    if networks < LEAST_NETWORKS:
        raise InvalidSpec(f"{networks} networks", hint=f"at least {LEAST_NETWORKS}", field="networks")
    if not 0 < minutes < float("inf"):
        raise InvalidSpec(f"{minutes:g} minutes", hint="more than 0", field="minutes")
    check_task(space, task)
    machine = timer.machine()
    store = store if store is not None else KernelStore(None, timer.device, machine)
    session = _Session(
        timer, store, seed, time.monotonic() + 60 * minutes, 60 * minutes, on_progress, should_stop
    )  # fmt: skip
    session.check()
    rules = rules_of(timer.device.runtime)
    drawn = draw_networks(space, task, rules, seed, time.monotonic() + _DRAW_SHARE * session.total_s, session.check)
    found, counts = count_units(drawn)

    chosen = by_use_and_size(found, counts, rules)[:max_units]
    until = time.monotonic() + _UNIT_SHARE * 60 * minutes
    session.time({u.key: Workload(u.graph, None, True) for u in chosen}, _UNITS, until, LEAST_NETWORKS)
    timed = {unit.key: each for unit in chosen if (each := store.get(unit.key)) is not None}

    every = {unit.key: unit for unit in chosen} | found
    tried = _time_networks(drawn, every, counts, timed, networks, session)
    tried.sort(key=lambda each: not each.units)  # those that run come first, and have a place in the records
    again = _time_again([each for each in tried if each.units], session)
    level, records, composition, measured, left_out = _fit(every, counts, timed, tried, again)
    repeated = {i for i, _ in again}
    return Profile(
        device=timer.device,
        space=space.name,
        task=task,
        seed=seed,
        runtime_version=machine.runtime_version,
        cpu=machine.cpu,
        reference_ms=level,
        units=records,
        networks=tuple(
            NetworkRecord(each.text, m.value, m.error or 0.0, p, 1 + (i in repeated))
            for i, (each, m, p) in enumerate(zip(tried, measured, left_out, strict=False))
        ),
        composition=composition,
        report=_report(session, timed, tried, again, measured, left_out, level)
        | {
            "units_timed": len(timed.keys() & found.keys()),
            "units_found": len(found),
            "modelled_share": composition.modelled_share,
        },
    )


@dataclass(frozen=True)
class _Network:
    """A network that was timed."""

    text: str
    graph: Graph
    units: tuple[Unit, ...]
    timed: Timed


def _time_networks(
    drawn: Mapping[str, Drawn],
    every: Mapping[str, Unit],
    counts: Counter[str],
    timed: Mapping[str, Timed],
    networks: int,
    session: _Session,
) -> list[_Network]:
    """Whole networks, chunk by chunk: each chunk evenly over the logarithm of the expected latency.

    Networks of which nothing depends on the input take all the same time: one of them is enough.
    """
    level = level_of(list(timed.values()))
    table = UnitTable(_records(timed, every, counts, level))
    texts = [text for text, network in drawn.items() if table.supports(network.units)]
    if len(texts) < LEAST_NETWORKS:
        raise InvalidSpec(
            f"{len(texts)} of {len(drawn)} networks can be predicted", hint="profile for longer", field="minutes"
        )
    idle = [text for text in texts if not drawn[text].units]
    texts = [*idle[:1], *(text for text in texts if drawn[text].units)]
    least, networks = LEAST_NETWORKS + bool(idle), networks + bool(idle)
    least_ms = min(record.ms for record in table.records)
    expected = {text: max(least_ms, sum(table.unit_ms(unit) for unit in drawn[text].units)) for text in texts}
    rng = np.random.default_rng([session.seed, 1])
    seen: set[str] = set(timed)
    found = _stored(texts, drawn, session.store, len(timed))[:networks]
    for each in found:
        seen.update(unit.key for unit in each.units)
    had = {deploy(each.graph)[0].fingerprint for each in found}
    left = [text for text in texts if all(text != each.text for each in found)]
    until = session.ends - _AGAIN_SHARE * session.total_s
    while len(found) < networks and left:
        fitting = session.fitting(_NETWORKS, until)
        if len(found) >= least and fitting < _FIRST_CHUNK:
            break
        wanted = min(_NETWORKS.chunk, max(_FIRST_CHUNK, fitting), networks - len(found), len(left))
        chosen = spread_networks(left, expected, drawn, seen, wanted, rng)
        left = [text for text in left if text not in set(chosen)]
        graphs = {text: deploy(drawn[text].graph)[0] for text in chosen}
        first = {graph.fingerprint: text for text, graph in reversed(graphs.items()) if graph.fingerprint not in had}
        works = {text: Workload(graphs[text]) for text in first.values()}  # equal networks count once
        keys = {text: key for key, text in first.items()}
        had.update(first)
        if not works:
            continue
        session.time(
            {keys[text]: work for text, work in works.items()}, _NETWORKS, until, LEAST_NETWORKS + 1 - len(found)
        )
        for text in works:
            stored = session.store.get(keys[text])
            if stored is not None:
                found.append(_Network(text, *drawn[text], stored))
                seen.update(unit.key for unit in found[-1].units)
    if sum(bool(each.units) for each in found) < LEAST_NETWORKS:
        raise InvalidSpec(
            f"the space has only {len(found)} different networks",
            hint=f"a profile needs {LEAST_NETWORKS}",
            field="space",
        )
    return found


def _stored(texts: Sequence[str], drawn: Mapping[str, Drawn], store: KernelStore, known: int) -> list[_Network]:
    """The networks that an earlier run has timed."""
    if len(store) <= known:  # nothing but units
        return []
    found = []
    had: set[str] = set()
    for text in texts:
        key = deploy(drawn[text].graph)[0].fingerprint
        stored = store.get(key)
        if stored is not None and key not in had:
            had.add(key)
            found.append(_Network(text, *drawn[text], stored))
    return found


def _time_again(networks: Sequence[_Network], session: _Session) -> list[tuple[int, Timed]]:
    """Some of the networks a second time, apart from the first, evenly over their order by latency."""
    order = np.argsort([each.timed.estimate.value for each in networks], kind="stable")
    fitting = max(_LEAST_REPEATED, session.fitting(_NETWORKS, session.ends))
    picks = order[np.linspace(0, len(order) - 1, min(REPEATED, fitting, len(order))).astype(int)].tolist()
    session.check()
    timed = time_workloads(
        [Workload(deploy(networks[i].graph)[0]) for i in picks],
        session.timer,
        effort=session.scaled(_NETWORKS),
        seed=session.seed + 7919,
        should_stop=session.should_stop,
    )
    return list(zip(picks, timed, strict=True))


def _records(
    timed: Mapping[str, Timed], every: Mapping[str, Unit], counts: Counter[str], level: Sequence[float]
) -> list[UnitRecord]:
    found = []
    for key, each in timed.items():
        unit, estimate = every[key], each.at(level)
        kinds = tuple(sorted(families(unit)))
        found.append(UnitRecord(key, estimate.value, estimate.error or 0.0, counts[key], kinds, features(unit)))
    return found


def _modelled(
    networks: Sequence[_Network], timed: Mapping[str, Timed], table: UnitTable, counts: Counter[str]
) -> list[UnitRecord]:
    """The units of timed networks that were not timed alone."""
    missing = {unit.key: unit for network in networks for unit in network.units if unit.key not in timed}
    found = []
    for key, unit in missing.items():
        kinds = tuple(sorted(families(unit)))
        ms = table.modelled_ms(unit)
        error = table.model_of(kinds).relative_error * ms
        found.append(UnitRecord(key, ms, error, counts[key], kinds, features(unit), timed=False))
    return found


def _fit(
    every: Mapping[str, Unit],
    counts: Counter[str],
    timed: Mapping[str, Timed],
    tried: Sequence[_Network],
    again: Sequence[tuple[int, Timed]],
) -> tuple[tuple[float, ...], tuple[UnitRecord, ...], Composition, list[Estimate], list[float]]:
    """Level of the references, units, composition, and each network as measured and as predicted by a fit without it.

    The networks of a chunk share an error, that of the drift: it shows in what they have in common, and is taken out.
    """
    level = level_of([*timed.values(), *(each.timed for each in tried)])
    idle = [each.timed.at(level).value for each in tried if not each.units]
    tried = [each for each in tried if each.units]
    timed_records = _records(timed, every, counts, level)
    records = (*timed_records, *_modelled(tried, timed, UnitTable(timed_records), counts))
    by_key = {record.key: record for record in records}
    keys = [[unit.key for unit in each.units] for each in tried]
    _, left_out = compose(keys, [each.timed.at(level).value for each in tried], by_key)
    rows = [*enumerate(each.timed for each in tried), *again]
    shared = _shared_errors(
        [timed.reference_ms for _, timed in rows],
        [timed.at(level).value for _, timed in rows],
        left_out[[i for i, _ in rows]],
    )
    each_ms: list[list[Estimate]] = [[] for _ in tried]
    for (i, timing), by in zip(rows, shared, strict=True):
        each_ms[i].append(timing.at([ms * exp(-by) for ms in level]))
    measured = [_mean(of) for of in each_ms]
    composition, left_out = compose(keys, [m.value for m in measured], by_key)
    modelled = [sum(by_key[key].ms for key in network if key not in timed) for network in keys]
    whole = [sum(by_key[key].ms for key in network) for network in keys]
    share = float(np.mean(np.divide(modelled, whole)))
    composition = replace(composition, modelled_share=share, idle_ms=idle[0] if idle else None)
    return level, records, composition, measured, left_out.tolist()


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    """Of several timings of one network: the geometric mean."""
    if len(estimates) == 1:
        return estimates[0]
    value = float(np.exp(np.mean(np.log([e.value for e in estimates]))))
    relative = float(np.sqrt(np.sum([((e.error or 0.0) / e.value) ** 2 for e in estimates]))) / len(estimates)
    return Estimate(value, value * relative, estimates[0].source)


def _shared_errors(chunk_of: Sequence[tuple[float, ...]], measured_ms: Sequence[float], predicted_ms: Floats) -> Floats:
    """The logarithm by which each network is too slow together with the others of its chunk, as a drift of the chunk.

    Relative to the mean of what all chunks would show at that network.
    """
    chunks: dict[tuple[float, ...], list[int]] = {}
    for i, chunk in enumerate(chunk_of):
        chunks.setdefault(chunk, []).append(i)
    measured, shared = np.asarray(measured_ms), np.zeros((len(chunks), len(chunk_of)))
    for row, members in zip(shared, chunks.values(), strict=True):
        drift = fit_drift(measured[members], predicted_ms[members])
        row[:] = np.log(drift.apply(predicted_ms) / predicted_ms) * len(members) / (len(members) + _SHRINK)
    usual = np.average(shared, axis=0, weights=[len(members) for members in chunks.values()])
    own = np.empty(len(chunk_of))
    for row, members in zip(shared, chunks.values(), strict=True):
        own[members] = (row - usual)[members]
    return own


def _report(
    session: _Session,
    timed: Mapping[str, Timed],
    tried: Sequence[_Network],
    again: Sequence[tuple[int, Timed]],
    measured: Sequence[Estimate],
    left_out: Sequence[float],
    level: Sequence[float],
) -> dict[str, Any]:
    """Accuracy on the networks left out, and how well measuring repeats."""
    first = np.array([tried[i].timed.at(level).value for i, _ in again])
    second = np.array([each.at(level).value for _, each in again])
    references = np.array(sorted({each.reference_ms for each in [*timed.values(), *(t.timed for t in tried)]}))
    drift = np.exp(np.mean(np.log(references / np.asarray(level)), axis=1))
    return accuracy_report(left_out, [m.value for m in measured]) | {
        "repeated": len(again),
        "repeatability_within_5": float(np.mean(np.abs(second / first - 1) <= 0.05)),
        "repeatability_mean_error": float(np.mean(np.abs(second / first - 1))),
        "reference_drift": float(drift.max() / drift.min() - 1),
        "wall_seconds": time.monotonic() - session.started,
    }
