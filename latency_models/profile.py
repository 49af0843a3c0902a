"""How a profile comes about: units timed alone, whole networks, and a composition that joins the two.

Everything timed is kept in a ``KernelStore`` at once, so that a profile that was interrupted continues.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from latency_models.kernel_rules import rules_of
from latency_models.kernel_store import KernelStore
from latency_models.kernels import Unit
from latency_models.measure import Timed, level_of, time_workloads
from latency_models.predictors.composition import LEAST_NETWORKS
from latency_models.predictors.table import UnitTable
from latency_models.profile_choice import Drawn, by_use_and_size, count_units, draw_networks, spread_networks
from latency_models.profile_file import NetworkRecord, Profile, load_profile, save_profile
from latency_models.profile_fit import TimedNetwork, fit_profile, profile_report, unit_records
from latency_models.timing import Effort, MeasuringStopped, Timer, Workload
from search_spaces.architecture import SearchSpace, check_task
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec
from search_spaces.task import Task

__all__ = ["NetworkRecord", "Profile", "ProfilingStopped", "load_profile", "profile_device", "save_profile"]

Floats = NDArray[np.float64]

ProfilingStopped = MeasuringStopped
"""The caller asked to stop; what was timed is in the store."""

MOST_NETWORKS = 400
MOST_UNITS = 1500
REPEATED = 20
"""Networks timed twice, over the range of latencies: how well measuring repeats, and what later drift is seen by."""
_LEAST_REPEATED = 5
_MOST_AGAIN = 3
_DRAW_SHARE = 0.08
_UNIT_SHARE = 0.2
_AGAIN_SHARE = 0.08
"""Parts of the time for drawing networks, for timing units alone, and for timing some networks again."""
_UNITS = Effort(visits=50, visit_s=0.0006, chunk=400)
_NETWORKS = Effort(visits=50, visit_s=0.003, chunk=48)  # small chunks, for the machine is another one every minute
_LONG_MINUTES = 3.0
"""A shorter profile has fewer visits of each network, for it needs some networks more than it needs exact ones."""
_LEAST_VISITS = 12
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
    fitted = fit_profile(every, counts, timed, tried, again)
    repeated = Counter(i for i, _ in again)
    return Profile(
        device=timer.device,
        space=space.name,
        task=task,
        seed=seed,
        runtime_version=machine.runtime_version,
        cpu=machine.cpu,
        reference_ms=fitted.level_ms,
        units=fitted.units,
        networks=tuple(
            NetworkRecord(each.text, m.value, m.error or 0.0, p, 1 + repeated[i])
            for i, (each, m, p) in enumerate(zip(tried, fitted.measured, fitted.left_out_ms, strict=False))
        ),
        composition=fitted.composition,
        report=profile_report(timed, tried, again, fitted)
        | {
            "wall_seconds": time.monotonic() - session.started,
            "units_timed": len(timed.keys() & found.keys()),
            "units_found": len(found),
            "modelled_share": fitted.composition.modelled_share,
        },
    )


def _time_networks(
    drawn: Mapping[str, Drawn],
    every: Mapping[str, Unit],
    counts: Counter[str],
    timed: Mapping[str, Timed],
    networks: int,
    session: _Session,
) -> list[TimedNetwork]:
    """Whole networks, chunk by chunk: each chunk evenly over the logarithm of the expected latency.

    Networks of which nothing depends on the input take all the same time: one of them is enough.
    """
    level = level_of(list(timed.values()))
    table = UnitTable(unit_records(timed, every, counts, level))
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
                found.append(TimedNetwork(text, *drawn[text], stored))
                seen.update(unit.key for unit in found[-1].units)
    if sum(bool(each.units) for each in found) < LEAST_NETWORKS:
        raise InvalidSpec(
            f"the space has only {len(found)} different networks",
            hint=f"a profile needs {LEAST_NETWORKS}",
            field="space",
        )
    return found


def _stored(texts: Sequence[str], drawn: Mapping[str, Drawn], store: KernelStore, known: int) -> list[TimedNetwork]:
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
            found.append(TimedNetwork(text, *drawn[text], stored))
    return found


def _time_again(networks: Sequence[TimedNetwork], session: _Session) -> list[tuple[int, Timed]]:
    """Some of the networks once more, apart from the first time, evenly over their order by latency.

    While there is time, then others: those timed least often. What it takes is seen anew, for the files of those that
    build slowly are kept.
    """
    order = np.argsort([each.timed.estimate.value for each in networks], kind="stable")
    fitting = max(_LEAST_REPEATED, session.fitting(_NETWORKS, session.ends))
    picks = order[np.linspace(0, len(order) - 1, min(REPEATED, fitting, len(order))).astype(int)].tolist()
    rng = np.random.default_rng([session.seed, 2])
    found: list[tuple[int, Timed]] = []
    while picks:
        session.check()
        began = time.monotonic()
        timed = time_workloads(
            [Workload(deploy(networks[i].graph)[0]) for i in picks],
            session.timer,
            effort=session.scaled(_NETWORKS),
            seed=session.seed + 7919 + len(found),
            should_stop=session.should_stop,
        )
        found += zip(picks, timed, strict=True)
        session.takes_s[_NETWORKS] = (time.monotonic() - began) / len(picks)
        session.tell()
        fitting = min(_NETWORKS.chunk, session.fitting(_NETWORKS, session.ends), len(networks))
        if fitting < _FIRST_CHUNK:
            break
        often = Counter(i for i, _ in found)
        by_need = sorted(rng.permutation(len(networks)).tolist(), key=often.__getitem__)
        picks = [i for i in by_need[:fitting] if often[i] < _MOST_AGAIN]
    return found
