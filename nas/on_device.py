"""What is known of a network on the devices of a search, and what the limits of those devices refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from latency_models.analytic import AnalyticPredictor, analytic_predictor
from latency_models.estimate import Estimate
from nas.spec import Constraint, SearchSpec
from search_spaces.errors import InvalidSpec
from search_spaces.graph import Graph


class Predictor(Protocol):
    def predict(self, graph: Graph) -> Estimate: ...


AnalyticOf = Callable[[str], AnalyticPredictor | None]
"""The predictor of an analytic device by its name, None for a device to be measured. Raises: DeviceUnavailable."""
ANALYTIC: AnalyticOf = analytic_predictor
"""With the devices of the project alone."""


def figures(predictor: Predictor, graph: Graph) -> Iterator[tuple[str, Estimate]]:
    """Every metric of the device that its predictor can tell."""
    for metric in metrics_of(predictor):
        yield metric, figure(predictor, metric, graph)


def metrics_of(predictor: Predictor) -> tuple[str, ...]:
    """The metrics that a predictor can tell: of a device that is measured only its latency."""
    if not isinstance(predictor, AnalyticPredictor):
        return ("latency_ms",)
    energy = ("energy_mj",) if predictor.facts.states_energy else ()
    return ("latency_ms", *energy, "flash_bytes", "ram_bytes")


def figure(predictor: Predictor, metric: str, graph: Graph) -> Estimate:
    """One metric of a network on a device. Raises: InvalidSpec where the device does not state it."""
    if metric == "latency_ms":
        return predictor.predict(graph)
    if metric not in metrics_of(predictor) or not isinstance(predictor, AnalyticPredictor):
        raise InvalidSpec(f"the device does not state {metric}", hint="GET /v1/devices says which do")
    if metric == "energy_mj":
        energy = predictor.energy_mj(graph)
        assert energy is not None  # metrics_of says so
        return energy
    return predictor.flash_bytes(graph) if metric == "flash_bytes" else predictor.ram_bytes(graph)


def check_metrics(spec: SearchSpec, predictors: Mapping[str, Predictor]) -> None:
    """Raises InvalidSpec, naming the field, where a search wants of a device what it does not state."""
    named = [(f"objectives.{i}", o.metric, o.device) for i, o in enumerate(spec.objectives)]
    named += [(f"constraints.{i}", c.metric, c.device) for i, c in enumerate(spec.constraints)]
    for field, metric, device in named:
        if device is None or metric == "latency_ms":
            continue
        found = metrics_of(predictors[device]) if device in predictors else ("latency_ms",)
        if metric not in found:
            hint = f"known there: {', '.join(found)}; {_elsewhere(metric)}"
            raise InvalidSpec(f"{device} does not state {metric}", hint=hint, field=field)


def _elsewhere(metric: str) -> str:
    if metric == "energy_mj":
        return "only devices of the catalogue that state power or energy have it (hwnas devices)"
    return "only devices of the catalogue have it, for others bound weight_bytes or peak_memory_bytes"


def limits(predictors: Mapping[str, Predictor]) -> tuple[Constraint, ...]:
    """The limits of the analytic devices as bounds: what breaks one cannot run there, so it has no latency there."""
    found: list[Constraint] = []
    for device, predictor in predictors.items():
        if isinstance(predictor, AnalyticPredictor):
            stated = predictor.facts.limits
            if stated.macs is not None:
                found.append(Constraint(metric="macs", max=float(stated.macs)))
            if stated.flash_bytes is not None:
                found.append(Constraint(metric="flash_bytes", device=device, max=float(stated.flash_bytes)))
            if stated.ram_bytes is not None:
                found.append(Constraint(metric="ram_bytes", device=device, max=float(stated.ram_bytes)))
    return tuple(found)
