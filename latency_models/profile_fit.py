"""What is fitted to the timings of a profile: records of units, the composition, and each network as measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latency_models.drift import fit_drift
from latency_models.estimate import Estimate
from latency_models.kernels import Unit, families, features
from latency_models.measure import Timed, level_of
from latency_models.predictors.composition import Composition, compose
from latency_models.predictors.table import UnitRecord, UnitTable
from latency_models.report import accuracy_report
from search_spaces.graph import Graph

Floats = NDArray[np.float64]

_SHRINK = 8  # as many networks more would be needed to believe a chunk's shared error whole


@dataclass(frozen=True)
class TimedNetwork:
    """A network that was timed."""

    text: str
    graph: Graph
    units: tuple[Unit, ...]
    timed: Timed


class Fitted(NamedTuple):
    """Level of the references, units, composition, each network as measured, and as predicted by a fit without it."""

    level_ms: tuple[float, ...]
    units: tuple[UnitRecord, ...]
    composition: Composition
    measured: list[Estimate]
    left_out_ms: list[float]


def fit_profile(
    every: Mapping[str, Unit],
    counts: Counter[str],
    timed: Mapping[str, Timed],
    tried: Sequence[TimedNetwork],
    again: Sequence[tuple[int, Timed]],
) -> Fitted:
    """The profile of these timings; ``again`` are later ones, with the index of the network.

    The networks of a chunk share an error, that of the drift: it shows in what they have in common, and is taken out.
    """
    level = level_of([*timed.values(), *(each.timed for each in tried)])
    idle = [each.timed.at(level).value for each in tried if not each.units]
    tried = [each for each in tried if each.units]
    timed_records = unit_records(timed, every, counts, level)
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
    return Fitted(level, records, composition, measured, left_out.tolist())


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


def unit_records(
    timed: Mapping[str, Timed], every: Mapping[str, Unit], counts: Counter[str], level: Sequence[float]
) -> list[UnitRecord]:
    found = []
    for key, each in timed.items():
        unit, estimate = every[key], each.at(level)
        kinds = tuple(sorted(families(unit)))
        found.append(UnitRecord(key, estimate.value, estimate.error or 0.0, counts[key], kinds, features(unit)))
    return found


def _modelled(
    networks: Sequence[TimedNetwork], timed: Mapping[str, Timed], table: UnitTable, counts: Counter[str]
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


def profile_report(
    timed: Mapping[str, Timed],
    tried: Sequence[TimedNetwork],
    again: Sequence[tuple[int, Timed]],
    fitted: Fitted,
) -> dict[str, Any]:
    """Accuracy on the networks left out, and how well measuring repeats."""
    level = fitted.level_ms
    first = np.array([tried[i].timed.at(level).value for i, _ in again])
    second = np.array([each.at(level).value for _, each in again])
    references = np.array(sorted({each.reference_ms for each in [*timed.values(), *(t.timed for t in tried)]}))
    drift = np.exp(np.mean(np.log(references / np.asarray(level)), axis=1))
    return accuracy_report(fitted.left_out_ms, [m.value for m in fitted.measured]) | {
        "repeated": len(again),
        "repeatability_within_5": float(np.mean(np.abs(second / first - 1) <= 0.05)),
        "repeatability_mean_error": float(np.mean(np.abs(second / first - 1))),
        "reference_drift": float(drift.max() / drift.min() - 1),
    }
