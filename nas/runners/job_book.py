"""The book of one call of ``Runner.train``: what runs, what has ended, what died; it knows nothing of who runs it."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nas.jobs import RungResult, TrainJob
from nas.runners.calls import failed_rung

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""So often a job is continued after the death of its worker; the next death fails it."""


@dataclass
class JobBook:
    """Deals every job out once, and hands every result over once.

    ``next_jobs`` and ``on_result`` are those of ``Runner.train``.
    """

    next_jobs: Callable[[], Sequence[TrainJob]]
    on_result: Callable[[RungResult], None]
    running: dict[int, TrainJob] = field(default_factory=dict)
    _ended: set[tuple[int, int]] = field(default_factory=set)
    _deaths: Counter[tuple[int, int]] = field(default_factory=Counter)
    _named: Sequence[TrainJob] | None = None

    def peek(self) -> TrainJob | None:
        """The job to start next, if any may start now."""
        if self._named is None:
            self._named = tuple(self.next_jobs())
        startable = (j for j in self._named if j.number not in self.running and (j.number, j.rung) not in self._ended)
        return next(startable, None)

    def start(self, job: TrainJob) -> None:
        self.running[job.number] = job

    def end(self, job: TrainJob, result: RungResult | None) -> None:
        """Hands the result over; None for a job that was interrupted, which may then start again."""
        if result is not None:
            self.on_result(result)
            self._ended.add((job.number, job.rung))
            self._named = None
        self.running.pop(job.number, None)

    def died(self, job: TrainJob, cause: str) -> None:
        """The worker of a running job died: the job may start again, or fails where that is hopeless."""
        self._deaths[job.number, job.rung] += 1
        deaths = self._deaths[job.number, job.rung]
        logger.warning(
            "the worker of trial %d died in rung %d, for the %d. time: %s", job.number, job.rung, deaths, cause
        )
        hopeless = deaths > MAX_DEATHS
        self.end(job, failed_rung(job, f"its worker died {deaths} times, last: {cause}") if hopeless else None)
