"""A database with searches in it, written through the same functions as the worker's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from api import leases, store, trial_store
from api.db import Database
from api.models import Search
from latency_models.estimate import Source
from nas.scores import get_score_facts
from nas.spec import SearchSpec
from nas.trial import Measurement, Trial, TrialState

DEVICE = "local-onnxruntime-b64"
_ENDS = ("state", "error_code", "error_message", "error_hint")
"""Columns that are written when a search ends."""
SPEC: dict[str, Any] = {
    "name": "digits on this machine",
    "space": "mobilenet_v2_small",
    "dataset": "digits",
    "objectives": [
        {"metric": "accuracy", "goal": "maximize"},
        {"metric": "latency_ms", "device": DEVICE, "goal": "minimize"},
    ],
    "constraints": [{"metric": "params", "max": 200_000}],
    "budget": {"scored": 300, "trainings": 18},
    "rungs": [{"epochs": 5}, {"epochs": 30}],
}


def make_trials(spec: SearchSpec, *, scored: int, seed: int = 0) -> list[Trial]:
    """Scored candidates whose latency spans some fifty times, larger ones being slower."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(scored):
        size = rng.uniform(0, 1)
        params = int(3_000 * 50**size)
        latency = 0.12 * 45 ** (0.85 * size + 0.15 * rng.uniform(0, 1))
        figures = (
            Measurement("params", None, 0, params, 0.0, Source.ANALYTIC),
            Measurement("macs", None, 0, int(params * rng.uniform(15, 30)), 0.0, Source.ANALYTIC),
            Measurement("peak_memory_bytes", None, 0, 4 * int(2_000 + params / 4), 0.0, Source.ANALYTIC),
            Measurement("latency_ms", DEVICE, 0, latency, 0.06 * latency, Source.PREDICTED),
        )
        found.append(
            Trial(
                number,
                f"r16 d{number % 4} k3e{number % 6} {number:04d}",
                f"{number:016x}",
                f"{number:032x}",
                TrialState.SCORED,
                proxies=dict.fromkeys(get_score_facts("default").proxies, size) | {"params": float(params)},
                measurements=figures,
            )
        )
    return found


def train(spec: SearchSpec, trials: list[Trial], *, entered: int, finished: int, measured: bool) -> list[Trial]:
    """The same trials after some of them have climbed; ``measured`` ends the search with its front."""
    rng = np.random.default_rng(1)
    chosen = {t.number: t for t in trials[:: max(1, len(trials) // entered)][:entered]}
    accuracy = {}
    for number, trial in chosen.items():
        size = np.log(trial.proxies["params"] / 3_000) / np.log(50)
        accuracy[number] = (0.45 + 0.45 * size + rng.normal(0, 0.05), 0.93 + 0.065 * size**0.5 + rng.normal(0, 0.004))
    climbers = sorted(chosen, key=lambda number: -accuracy[number][0])
    climbers = climbers[:: max(1, len(climbers) // max(finished, 1))][:finished] if finished else []
    for number, trial in chosen.items():
        figures = [*trial.measurements, _accuracy(1, accuracy[number][0])]
        changed = replace(trial, state=TrialState.PRUNED if climbers else TrialState.WAITING, rung=1, epochs=5)
        if number in climbers:
            figures.append(_accuracy(2, accuracy[number][1]))
            changed = replace(changed, state=TrialState.WAITING, rung=2, epochs=30)
            if measured:
                latency = trial.find("latency_ms", DEVICE).value * rng.normal(1.02, 0.04)
                figures.append(Measurement("latency_ms", DEVICE, 2, latency, 0.015 * latency, Source.MEASURED))
                figures.append(replace(_accuracy(2, accuracy[number][1] - 0.003), metric="test_accuracy"))
                changed = replace(changed, state=TrialState.SUCCEEDED)
        chosen[number] = replace(changed, measurements=tuple(figures))
    return [chosen.get(t.number, t) for t in trials]


def _accuracy(rung: int, value: float) -> Measurement:
    value = float(min(round(value * 359) / 359, 1.0))
    return Measurement("accuracy", None, rung, value, 1.645 * (value * (1 - value) / 359) ** 0.5, Source.MEASURED)


def add_search(
    database: Database, spec: dict[str, Any], trials: Callable[[SearchSpec], list[Trial]], **ends: Any
) -> str:
    """The id of a stored search that a worker holds, or that ``state=...`` has ended."""
    parsed = SearchSpec.model_validate(spec)
    with database.write() as session:
        search_id = store.create_search(session, parsed).id
    with database.write() as session:
        claim = leases.claim(session, Search, "seeding", 3600.0, 5)
        assert claim is not None
        assert claim.id == search_id
        trial_store.record_trials(session, claim, trials(parsed))
        leases.write(session, claim, **{k: v for k, v in ends.items() if k not in _ENDS})
        if "state" in ends:
            leases.finish(session, claim, **{k: v for k, v in ends.items() if k in _ENDS})
    return search_id


def running(database: Database, **spec: Any) -> str:
    """A search in the middle of its training."""
    return add_search(
        database,
        {**SPEC, "name": "running", **spec},
        lambda parsed: train(parsed, make_trials(parsed, scored=300), entered=14, finished=3, measured=False),
        phase="train",
        progress_done=14,
        progress_total=18,
        rejected={"params <= 200000": 57},
    )


def exploring(database: Database, **spec: Any) -> str:
    """A search that has scored some candidates and trained none."""
    return add_search(
        database,
        {**SPEC, "name": "exploring", **spec},
        lambda parsed: make_trials(parsed, scored=96),
        phase="explore",
        progress_done=96,
        progress_total=300,
    )


def finished(database: Database, **spec: Any) -> str:
    """A search that has ended with a front."""
    return add_search(
        database,
        {**SPEC, **spec},
        lambda parsed: train(parsed, make_trials(parsed, scored=300), entered=18, finished=8, measured=True),
        phase="measure",
        progress_done=2,
        progress_total=2,
        rejected={"params <= 200000": 112},
        state="SUCCEEDED",
    )


def failed(database: Database, **spec: Any) -> str:
    """A search that no architecture could satisfy."""
    return add_search(
        database,
        {**SPEC, "name": "impossible", **spec},
        lambda parsed: [],
        phase="profile",
        state="FAILED",
        error_code="infeasible",
        error_message=f"latency_ms@{DEVICE} <= 0.01 rejected every one of 2,000 draws",
        error_hint="the least latency that was drawn is 0.11 ms",
    )
