"""Runners carry work out, on this machine or on Ray; what to do is decided elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol, Self

from nas.jobs import RungResult, ScoreJob, ScoreResult, TrainJob
from search_spaces.errors import UnknownName, nearest


class Runner(Protocol):
    """Executes jobs. A context manager: entering starts its workers, leaving ends every one of them."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

    @property
    def slots(self) -> int:
        """How many jobs train at a time, between entering and leaving."""

    def score(self, jobs: Sequence[ScoreJob], should_stop: Callable[[], bool]) -> list[ScoreResult]:
        """The results in the order of the jobs; fewer where ``should_stop`` turned true.

        A worker that dies is replaced and its job repeated, a bounded number of times; after that the
        job's result carries the error.
        """

    def train(
        self,
        next_jobs: Callable[[], Sequence[TrainJob]],
        on_result: Callable[[RungResult], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Runs jobs until ``next_jobs`` names none and none is running, or ``should_stop`` turns true.

        ``next_jobs`` lists every job that may run now, started ones included, in order of preference; it
        depends only on the results handed over so far. ``on_result`` stores a result before it returns
        and is never called from two threads at once, nor for a job that was interrupted by
        ``should_stop``. A worker that dies is replaced and its job continued from its checkpoint, a
        bounded number of times; then, as with any error in training, the result carries the error.
        """


class RunnerFacts(NamedTuple):
    description: str
    path: str


RUNNERS: Mapping[str, RunnerFacts] = {
    "local": RunnerFacts("one job at a time in this process", "nas.runners.local:LocalRunner"),
    "ray": RunnerFacts("Ray Tune on a local or a remote Ray cluster", "nas.runners.ray_tune:RayRunner"),
}


def make_runner(name: str, **options: Any) -> Runner:
    """The runner of that name. Raises: UnknownName."""
    if name not in RUNNERS:
        raise UnknownName(f"unknown runner {name!r}", hint=nearest(name, list(RUNNERS)), field="runner")
    module, _, attribute = RUNNERS[name].path.partition(":")
    runner: Runner = getattr(import_module(module), attribute)(**options)
    return runner
