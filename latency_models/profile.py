"""How a profile comes about: time the units of a space, then whole networks, then calibrate one by the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from latency_models.device import Device, cpu_model
from latency_models.estimate import Estimate
from latency_models.kernels import Unit, families, features, units
from latency_models.measure import Protocol, time_models
from latency_models.predictors.calibration import LEAST_NETWORKS, calibrate
from latency_models.predictors.table import UnitRecord, UnitTable
from latency_models.profile_file import NetworkRecord, Profile, load_profile, save_profile
from latency_models.report import accuracy_report
from latency_models.runtimes import runtime_version
from search_spaces.architecture import Architecture, SearchSpace, check_task
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec, NasError
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx
from search_spaces.task import Task

__all__ = ["NetworkRecord", "Profile", "ProfilingStopped", "load_profile", "profile_device", "save_profile"]

DRAWS = 1500
LEAST_DRAWS = 100
_ENDS = (0.1, 0.45, 0.6, 0.85, 1.0)
"""Parts of the wall time after which these end: draws; units, doubtful units again; networks, doubtful ones again."""
_DOUBTFUL = 0.05
_LOAD_S = 0.006
_NETWORK_CHUNK = 6


class ProfilingStopped(NasError):
    """The caller asked to stop; nothing is kept."""


@dataclass
class _Session:
    """One profiling run: what it times on, whom it tells, and what the reference model took meanwhile."""

    device: Device
    seed: int
    on_progress: Callable[[int, int], None]
    should_stop: Callable[[], bool]
    ends: tuple[float, ...] = ()
    done: int = 0
    total: int = 0
    reference_ms: list[float] = field(default_factory=list)

    def check(self) -> None:
        if self.should_stop():
            raise ProfilingStopped("profiling was stopped", hint="start it again")

    def time(
        self, models: Sequence[Callable[[], bytes]], protocol: Protocol, deadline: float, least: int
    ) -> list[Estimate]:
        def progress(done: int, _: int) -> None:
            if least:  # a second look is no progress
                self.on_progress(self.done + done, self.total)

        timings = time_models(
            models, self.device, seed=self.seed, protocol=protocol, deadline=deadline, least=least,
            on_progress=progress, should_stop=self.should_stop,
        )  # fmt: skip
        self.check()
        self.reference_ms += timings.reference_ms
        return timings.estimates


def profile_device(
    device: Device,
    space: SearchSpace,
    task: Task,
    *,
    seed: int = 0,
    networks: int = 24,
    max_units: int = 1000,
    wall_seconds: float = 20.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Profile:
    """Times the units of a space and some of its networks, in about ``wall_seconds``.

    Units that the time does not suffice for, the most frequent and then a spread of sizes coming first, are
    left to the model. Raises: DeviceUnavailable, InvalidSpec, ProfilingStopped.
    """
    if networks < LEAST_NETWORKS:
        raise InvalidSpec(f"{networks} networks", hint=f"at least {LEAST_NETWORKS}", field="networks")
    check_task(space, task)
    version = runtime_version(device.runtime)
    started = time.monotonic()
    session = _Session(device, seed, on_progress, should_stop, tuple(started + x * wall_seconds for x in _ENDS))
    rng = np.random.default_rng(seed)
    drawn = _draw(space, task, rng, session)
    found, counts = _count(drawn)
    chosen = _by_use_and_size(found, counts)[:max_units]

    session.total = len(chosen) + networks
    records = _time_units(chosen, counts, session)
    table = UnitTable(records)
    session.done = len(chosen)
    tried = _spread([pair for pair in drawn.items() if table.supports(units(pair[1]))], table, networks, rng)
    measured = _time_networks([graph for _, graph in tried], session)

    parts = [[table.unit_ms(unit) for unit in units(graph)] for _, graph in tried[: len(measured)]]
    calibration, left_out = calibrate(parts, [estimate.value for estimate in measured])
    timed_share = float(np.mean([unit.key in table.timed for _, graph in tried for unit in units(graph)]))
    report = accuracy_report(left_out.tolist(), [estimate.value for estimate in measured]) | {
        "units_found": len(found),
        "units_timed": len(records),
        "timed_share_of_calls": timed_share,
        "unit_model_p90_error": table.model.relative_error,
        "reference_drift": max(session.reference_ms) / min(session.reference_ms) - 1,
        "wall_seconds": time.monotonic() - started,
    }
    return Profile(
        device, space.name, task, seed, version, cpu_model(), tuple(records),
        tuple(
            NetworkRecord(space.to_string(arch), estimate.value, estimate.error or 0.0, float(predicted))
            for (arch, _), estimate, predicted in zip(tried, measured, left_out, strict=False)
        ),
        calibration, report,
    )  # fmt: skip


def _draw(space: SearchSpace, task: Task, rng: np.random.Generator, session: _Session) -> dict[Architecture, Graph]:
    """Cover, then random architectures: ``DRAWS``, or as many above ``LEAST_DRAWS`` as the time allows."""
    smallest = space.smallest()
    drawn = {arch: space.graph(arch, task) for arch in (smallest, *space.cover())}
    for number in range(DRAWS):
        if number >= LEAST_DRAWS and time.monotonic() > session.ends[0]:
            break
        arch = space.sample(rng)
        if number % 2:  # uniform draws are nearly all of middling size; searches look for the small ones
            arch = space.crossover(smallest, arch, rng)
        drawn[arch] = space.graph(arch, task)
        units(drawn[arch])  # memoised: the costly part of what follows
    session.check()
    return drawn


def _count(drawn: dict[Architecture, Graph]) -> tuple[dict[str, Unit], Counter[str]]:
    found: dict[str, Unit] = {}
    counts: Counter[str] = Counter()
    for graph in drawn.values():
        for unit in units(graph):
            found.setdefault(unit.key, unit)
            counts[unit.key] += 1
    return found, counts


def _by_use_and_size(found: dict[str, Unit], counts: Counter[str]) -> list[Unit]:
    """By turns the most used unit that is left, and one from a spread over the sizes; kinds of op come first."""
    used = sorted(found.values(), key=lambda u: (-counts[u.key], u.key))
    sized = sorted(found.values(), key=lambda u: (u.graph.macs, u.key))
    order = sorted(range(len(sized)), key=_bits_reversed)
    first: dict[frozenset[str], Unit] = {}
    for unit in used:
        first.setdefault(families(unit), unit)
    pairs = [unit for pair in zip(used, (sized[i] for i in order), strict=True) for unit in pair]
    return list({unit.key: unit for unit in [*first.values(), *pairs]}.values())


def _bits_reversed(number: int) -> int:
    """Van der Corput order: any first part of it is spread evenly."""
    return int(f"{number:024b}"[::-1], 2)


def _time_units(chosen: Sequence[Unit], counts: Counter[str], session: _Session) -> list[UnitRecord]:
    each = min(0.1, max(0.005, (session.ends[1] - time.monotonic()) / len(chosen) - _LOAD_S))

    def records(estimates: list[Estimate]) -> list[UnitRecord]:
        return [_record(unit, estimate, counts) for unit, estimate in zip(chosen, estimates, strict=False)]

    def doubt(estimates: list[Estimate]) -> list[float]:
        """How much the rounds disagree, or how much longer a unit took than units like it."""
        if len(estimates) < 2:
            return _spreads(estimates)
        slower = np.expm1(UnitTable(records(estimates)).model.residuals)
        return [max(pair) for pair in zip(_spreads(estimates), slower.tolist(), strict=True)]

    models = [_model(unit.graph, session.device) for unit in chosen]
    return records(_time_twice(models, session, Protocol(6, 3, each), session.ends[1:3], doubt))


def _time_networks(graphs: Sequence[Graph], session: _Session) -> list[Estimate]:
    each = min(0.5, max(0.05, 0.7 * (session.ends[3] - time.monotonic()) / len(graphs)))
    models = [_model(deploy(graph)[0], session.device) for graph in graphs]
    return _time_twice(models, session, Protocol(8, 3, each, _NETWORK_CHUNK), session.ends[3:], _spreads)


def _time_twice(
    models: Sequence[Callable[[], bytes]],
    session: _Session,
    protocol: Protocol,
    ends: Sequence[float],
    doubt: Callable[[list[Estimate]], list[float]],
) -> list[Estimate]:
    """Times models, then the doubtful ones again, worst first, and keeps the lower: what disturbs only adds time."""
    estimates = session.time(models, protocol, ends[0], LEAST_NETWORKS)
    doubts = doubt(estimates)
    doubtful = sorted((i for i, value in enumerate(doubts) if value > _DOUBTFUL), key=lambda i: -doubts[i])
    longer = replace(protocol, model_s=2 * protocol.model_s)
    again = session.time([models[i] for i in doubtful], longer, ends[1], 0)
    for i, estimate in zip(doubtful, again, strict=False):
        if estimate.value < estimates[i].value:
            estimates[i] = estimate
    return estimates


def _spreads(estimates: list[Estimate]) -> list[float]:
    return [(estimate.error or 0.0) / estimate.value for estimate in estimates]


def _record(unit: Unit, estimate: Estimate, counts: Counter[str]) -> UnitRecord:
    kinds = tuple(sorted(families(unit)))
    return UnitRecord(unit.key, estimate.value, estimate.error or 0.0, counts[unit.key], kinds, features(unit))


def _spread(
    drawn: list[tuple[Architecture, Graph]], table: UnitTable, networks: int, rng: np.random.Generator
) -> list[tuple[Architecture, Graph]]:
    """Networks evenly over the logarithm of the expected latency, in random order."""
    expected = np.log([sum(table.unit_ms(unit) for unit in units(graph)) for _, graph in drawn])
    left = np.ones(len(drawn), dtype=bool)
    picks = []
    for wanted in np.linspace(expected.min(), expected.max(), min(networks, len(drawn))):
        picks.append(int(np.argmin(np.where(left, np.abs(expected - wanted), np.inf))))
        left[picks[-1]] = False
    return [drawn[i] for i in rng.permutation(picks)]


def _model(graph: Graph, device: Device) -> Callable[[], bytes]:
    """Makes the ONNX model of a deployed graph when it is called."""

    def make() -> bytes:
        model: bytes = to_onnx(graph, batch=device.batch_size).SerializeToString()
        return model

    return make
