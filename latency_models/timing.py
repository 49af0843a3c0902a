"""What is timed, how long, and who times it: this process, or an agent on another machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from latency_models.device import Device
from search_spaces.errors import NasError
from search_spaces.graph import Graph

Samples = Sequence[Sequence[float]]
"""Nanoseconds of each timed run, visit by visit."""


class MeasuringStopped(NasError):
    """The caller asked to stop while networks were timed."""


def stopped() -> MeasuringStopped:
    """What whoever times raises when asked to stop."""
    return MeasuringStopped("measuring was stopped", hint="start it again: what was measured is kept")


class Workload(NamedTuple):
    """A deployed network to be timed, and its weights; random ones where None.

    ``part``: it is a part of networks, so a runtime that can takes inputs and outputs in the layout that it uses
    between layers.
    """

    graph: Graph
    weights: Mapping[str, NDArray[Any]] | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class Effort:
    """How networks are timed: a chunk of them is loaded, and each visited in turn, ``visits`` times over.

    A visit is a run that is not counted, then runs for ``visit_s`` (one at least). Visits are many and short:
    what disturbs a run on a shared machine outlasts the run, so more runs in one visit would say little more.
    Where a network lies in memory moves its time by some 2 % until it is loaded again: what must be known better is
    timed ``loads`` times over.
    """

    visits: int = 100
    visit_s: float = 0.003
    chunk: int = 96
    loads: int = 1


class Machine(NamedTuple):
    """What a timing holds for, beside the device."""

    cpu: str
    runtime_version: str


class Timer(Protocol):
    """Times networks on one device. Statistics are made by ``latency_models.measure``."""

    @property
    def device(self) -> Device: ...
    def machine(self) -> Machine:
        """Raises: DeviceUnavailable if the device's runtime is not there."""

    def time(
        self,
        workloads: Sequence[Workload],
        *,
        effort: Effort,
        seed: int = 0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Samples]:
        """One chunk, loaded once: all networks are visited in turn. ``effort.loads`` is the caller's to carry out.

        Raises: DeviceUnavailable, InvalidGraph, UnsupportedKernel, MeasuringStopped.
        """
