"""Trials and specifications that several tests share."""

from typing import Any

from latency_models.estimate import Source
from nas.spec import SearchSpec
from nas.trial import Measurement, Trial, TrialState

DEVICE = "local-onnxruntime-b64"


def make_spec(**changes: Any) -> SearchSpec:
    body: dict[str, Any] = {
        "name": "test",
        "space": "mobilenet_v2_small",
        "dataset": "digits",
        "objectives": [{"metric": "accuracy"}, {"metric": "latency_ms", "device": DEVICE}],
        "score": "params",
        "budget": {"scored": 8, "trainings": 4},
        "rungs": [{"epochs": 1}, {"epochs": 2}],
    }
    return SearchSpec.model_validate({**body, **changes})


def make_trial(
    number: int,
    score: float | None,
    latency_ms: float,
    accuracies: tuple[float, ...] = (),
    *,
    state: TrialState = TrialState.SCORED,
    measured_ms: float | None = None,
    fingerprint: str | None = None,
) -> Trial:
    figures = [Measurement("latency_ms", DEVICE, 0, latency_ms, 0.1, Source.PREDICTED)]
    figures += [Measurement("accuracy", None, r, a, 0.01, Source.MEASURED) for r, a in enumerate(accuracies, 1)]
    if measured_ms is not None:
        figures.append(Measurement("latency_ms", DEVICE, len(accuracies), measured_ms, 0.05, Source.MEASURED))
    return Trial(
        number,
        f"arch{number}",
        f"id{number}",
        fingerprint or f"print{number}",
        state,
        rung=len(accuracies),
        proxies={"params": score},
        measurements=tuple(figures),
    )
