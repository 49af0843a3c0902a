"""How a profile comes about: time the units of a space, then whole networks, then calibrate one by the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
from search_spaces.architecture import Architecture, SearchSpace
from search_spaces.deploy import deploy
from search_spaces.errors import InvalidSpec, NasError
from search_spaces.graph import Graph
from search_spaces.onnx_graph import to_onnx
from search_spaces.task import Task

__all__ = ["NetworkRecord", "Profile", "ProfilingStopped", "load_profile", "profile_device", "save_profile"]

DRAWS = 1500
_UNIT_SHARE, _AGAIN_SHARE = 0.5, 0.65
"""Parts of the wall time after which the timing of units, and the second look at doubtful ones, end."""
_DOUBTFUL = 0.05
_LOAD_S = 0.006
_NETWORK_CHUNK = 12


class ProfilingStopped(NasError):
    """The caller asked to stop; nothing is kept."""


@dataclass
class _Progress:
    """Counts timed models for ``on_progress(done, total)``."""

    report: Callable[[int, int], None]
    total: int
    before: int = 0
    done: int = field(default=0)

    def __call__(self, done: int, _: int) -> None:
        self.done = self.before + done
        self.report(min(self.done, self.total), self.total)


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
    space.check_task(task)
    version = runtime_version(device.runtime)
    started = time.monotonic()
    rng = np.random.default_rng(seed)
    drawn = _draw(space, task, rng)
    found, counts = _count(drawn)
    chosen = _by_use_and_size(found, counts)[:max_units]
    progress = _Progress(on_progress, len(chosen) + networks)
    ends = [started + share * wall_seconds for share in (_UNIT_SHARE, _AGAIN_SHARE, 1.0)]

    records = _time_units(chosen, counts, device, ends, seed, progress, should_stop)
    table = UnitTable(records)
    progress.before = len(chosen)
    tried = _spread([pair for pair in drawn.items() if not _unsupported(pair[1], table)], table, networks, rng)
    measured = _time_networks([graph for _, graph in tried], device, ends[2], seed, progress, should_stop)
    _check(should_stop)

    parts = [[table.unit_ms(unit) for unit in units(graph)] for _, graph in tried[: len(measured)]]
    calibration, left_out = calibrate(parts, [estimate.value for estimate in measured])
    timed_share = float(np.mean([unit.key in table.timed for _, graph in tried for unit in units(graph)]))
    report = accuracy_report(left_out.tolist(), [estimate.value for estimate in measured]) | {
        "units_found": len(found),
        "units_timed": len(records),
        "timed_share_of_calls": timed_share,
        "unit_model_p90_error": table.model.relative_error,
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


def _check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise ProfilingStopped("profiling was stopped", hint="start it again")


def _draw(space: SearchSpace, task: Task, rng: np.random.Generator) -> dict[Architecture, Graph]:
    drawn = dict.fromkeys([*space.cover(), *(space.sample(rng) for _ in range(DRAWS))])
    return {arch: space.graph(arch, task) for arch in drawn}


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


def _time_units(
    chosen: Sequence[Unit],
    counts: Counter[str],
    device: Device,
    ends: Sequence[float],
    seed: int,
    progress: _Progress,
    should_stop: Callable[[], bool],
) -> list[UnitRecord]:
    left = ends[0] - time.monotonic()
    each = min(0.1, max(0.005, left / len(chosen) - _LOAD_S))
    first = time_models(
        [_model(unit.graph, device) for unit in chosen], device, seed=seed, protocol=Protocol(6, 3, each),
        deadline=ends[0], on_progress=progress, should_stop=should_stop,
    ).estimates  # fmt: skip
    _check(should_stop)
    records = [_record(unit, estimate, counts) for unit, estimate in zip(chosen, first, strict=False)]
    doubtful = _doubtful(records)
    again = time_models(
        [_model(chosen[i].graph, device) for i in doubtful], device, seed=seed, protocol=Protocol(6, 3, 2 * each),
        deadline=ends[1], should_stop=should_stop,
    ).estimates  # fmt: skip
    _check(should_stop)
    for i, estimate in zip(doubtful, again, strict=False):
        if estimate.value < records[i].ms:  # what disturbs only adds time
            records[i] = _record(chosen[i], estimate, counts)
    return records


def _doubtful(records: list[UnitRecord]) -> list[int]:
    """Units whose rounds disagree, or that took longer than units like them, worst first."""
    if len(records) < 2:
        return []
    residuals = UnitTable(records).model.residuals
    doubt = {i: max(record.error_ms / record.ms, float(np.expm1(residuals[i]))) for i, record in enumerate(records)}
    return sorted((i for i, value in doubt.items() if value > _DOUBTFUL), key=lambda i: -doubt[i])


def _record(unit: Unit, estimate: Estimate, counts: Counter[str]) -> UnitRecord:
    kinds = tuple(sorted(families(unit)))
    return UnitRecord(unit.key, estimate.value, estimate.error or 0.0, counts[unit.key], kinds, features(unit))


def _unsupported(graph: Graph, table: UnitTable) -> bool:
    return any(unit.key not in table.timed and families(unit) - table.families for unit in units(graph))


def _spread(
    drawn: list[tuple[Architecture, Graph]], table: UnitTable, networks: int, rng: np.random.Generator
) -> list[tuple[Architecture, Graph]]:
    """Networks evenly over the range of expected latency, in random order."""
    expected = [sum(table.unit_ms(unit) for unit in units(graph)) for _, graph in drawn]
    ranked = np.argsort(expected, kind="stable")
    picks = ranked[np.linspace(0, len(ranked) - 1, min(networks, len(ranked))).round().astype(int)]
    return [drawn[i] for i in rng.permutation(picks)]


def _time_networks(
    graphs: Sequence[Graph],
    device: Device,
    deadline: float,
    seed: int,
    progress: _Progress,
    should_stop: Callable[[], bool],
) -> list[Estimate]:
    each = min(0.5, max(0.05, 0.7 * (deadline - time.monotonic()) / len(graphs)))
    return time_models(
        [_model(deploy(graph)[0], device) for graph in graphs], device, seed=seed,
        protocol=Protocol(8, 3, each, _NETWORK_CHUNK), deadline=deadline, on_progress=progress, should_stop=should_stop,
    ).estimates  # fmt: skip


def _model(graph: Graph, device: Device) -> Callable[[], bytes]:
    """Makes the ONNX model of a deployed graph when it is called."""

    def make() -> bytes:
        model: bytes = to_onnx(graph, batch=device.batch_size).SerializeToString()
        return model

    return make
