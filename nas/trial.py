"""A trial: one architecture of a search, and everything that is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from latency_models.estimate import Estimate, Source


class TrialState(StrEnum):
    """SCORED is final once the search has ended; WAITING is between two rungs."""

    SCORED = "SCORED"
    TRAINING = "TRAINING"
    WAITING = "WAITING"
    PRUNED = "PRUNED"
    SUCCEEDED = "SUCCEEDED"
    INFEASIBLE = "INFEASIBLE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of a trial. ``rung`` is the rung after which it was taken (0: before training)."""

    metric: str
    device: str | None
    rung: int
    value: float
    error: float | None
    source: Source


@dataclass(frozen=True, slots=True)
class Trial:
    """An architecture within a search.

    ``number`` counts from 0 in order of proposal; a later version of a trial replaces the earlier
    one of the same number. ``architecture`` is the space's text form, ``proxies`` holds raw
    zero-shot values (never a rank, which would depend on the other trials; a value that was not
    finite is None), ``notes`` what the strategy needs back on replay.
    """

    number: int
    architecture: str
    architecture_id: str
    fingerprint: str
    state: TrialState
    rung: int = 0
    epochs: int = 0
    proxies: Mapping[str, float | None] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def baseline(self) -> str | None:
        """The name under which the specification lists it as a baseline; None for a proposal of the strategy."""
        name: str | None = self.notes.get("baseline")
        return name

    @property
    def accuracies(self) -> tuple[float, ...]:
        """On the validation part after each rung that it has completed, the first one first."""
        reached = sorted((m.rung, m.value) for m in self.measurements if m.metric == "accuracy")
        return tuple(value for _, value in reached)

    def find(
        self, metric: str, device: str | None = None, *, rung: int | None = None, source: Source | None = None
    ) -> Measurement | None:
        """The figure of the highest rung that matches; at one rung measured goes before predicted."""
        found = [
            m
            for m in self.measurements
            if m.metric == metric
            and (device is None or m.device == device)
            and (rung is None or m.rung == rung)
            and (source is None or m.source == source)
        ]
        return max(found, key=lambda m: (m.source == Source.MEASURED, m.rung), default=None)

    def is_analytic(self, device: str) -> bool:
        """Whether the device is known by its facts alone, so that there is nothing to measure on."""
        return self.find("latency_ms", device, source=Source.ANALYTIC) is not None

    def estimate(self, metric: str, device: str | None = None) -> Estimate | None:
        """The best figure known for a metric."""
        found = self.find(metric, device)
        return Estimate(found.value, found.error, found.source) if found else None
