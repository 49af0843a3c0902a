"""Zero-shot scoring on a pool of bare Ray actors."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from math import ceil
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from nas.jobs import ScoreJob, ScoreResult
from nas.runners import calls
from search_spaces.errors import NasError

MAX_REPEATS = 2
"""So often a job is repeated after the death of its worker."""
MAX_STARTS_FAILED = 3
MAX_CHUNK = 16
CHUNKS_A_WORKER = 4
POLL_S = 0.1
logger = logging.getLogger(__name__)
MEMORY_HINT = "look for a lack of memory, or give the runner fewer cpus"


class ScoreWorker:
    """The actor: scores jobs one after the other, on one thread."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ready(self) -> None:
        """Resolves once the process runs."""

    def score(self, jobs: Sequence[ScoreJob]) -> list[ScoreResult]:
        return [calls.score(self._path, job) for job in jobs]


class Chunk(NamedTuple):
    """Jobs that travel together; ``first`` is the place of the first one among all jobs."""

    first: int
    jobs: Sequence[ScoreJob]
    deaths: int = 0

    def after_death(self) -> "list[Chunk]":
        """The jobs one by one, so that the one that kills its worker is found; deaths count for single jobs."""
        if len(self.jobs) == 1:
            return [self._replace(deaths=self.deaths + 1)]
        return [Chunk(self.first + i, (job,)) for i, job in enumerate(self.jobs)]


class ScorePool:
    """``size`` actors that live until ``close``.

    They reserve no CPU, for they score while others train too; spread, so that every node of a cluster takes part.
    """

    def __init__(self, size: int, path: str) -> None:
        self._path = path
        self._actor = ray.remote(ScoreWorker).options(num_cpus=0, max_restarts=0, scheduling_strategy="SPREAD")
        self._workers: list[Any] = [self._actor.remote(path) for _ in range(size)]

    def close(self) -> None:
        for worker in self._workers:
            ray.kill(worker, no_restart=True)
        self._workers = []

    def run(self, jobs: Sequence[ScoreJob], should_stop: Callable[[], bool]) -> list[ScoreResult]:
        """The results in the order of the jobs; only the first ones where ``should_stop`` turned true.

        The pool is closed then, and has to be replaced. Raises: NasError where no worker can start.
        """
        size = max(1, min(MAX_CHUNK, ceil(len(jobs) / (CHUNKS_A_WORKER * len(self._workers)))))
        todo = deque(Chunk(i, jobs[i : i + size]) for i in range(0, len(jobs), size))
        results: dict[int, ScoreResult] = {}
        idle: list[Any] = []
        starts_failed = 0
        # a worker is idle once it is up, so that no chunk waits for one that finds no free CPU
        busy: dict[Any, tuple[Any, Chunk | None]] = {worker.ready.remote(): (worker, None) for worker in self._workers}
        while len(results) < len(jobs):
            if should_stop():
                self.close()
                break
            while todo and idle:
                worker, next_chunk = idle.pop(), todo.popleft()
                busy[worker.score.remote(next_chunk.jobs)] = worker, next_chunk
            done, _ = ray.wait(list(busy), num_returns=1, timeout=POLL_S)
            for future in done:
                worker, chunk = busy.pop(future)
                try:
                    scored = ray.get(future)
                except RayError as error:
                    starts_failed += chunk is None
                    if starts_failed > MAX_STARTS_FAILED:
                        raise NasError(f"scoring workers die as they start: {error}", hint=MEMORY_HINT) from error
                    _repeat(chunk, error, todo, results)
                    worker = self._replace(worker)
                    busy[worker.ready.remote()] = worker, None
                    continue
                idle.append(worker)
                if chunk is not None:
                    results.update(enumerate(scored, chunk.first))
        return [results[i] for i in takewhile(results.__contains__, range(len(jobs)))]

    def _replace(self, dead: Any) -> Any:
        # the actor may be alive where only its task failed
        ray.kill(dead, no_restart=True)
        self._workers[self._workers.index(dead)] = worker = self._actor.remote(self._path)
        return worker


def _repeat(chunk: Chunk | None, error: RayError, todo: deque[Chunk], results: dict[int, ScoreResult]) -> None:
    """Puts the chunk of a dead worker first in line again, or gives its job up."""
    logger.warning("a scoring worker died: %s", calls.cause_of(error))
    for part in reversed(chunk.after_death() if chunk else []):
        if part.deaths > MAX_REPEATS:
            results[part.first] = calls.failed_score(
                f"its worker died {part.deaths} times, last: {calls.cause_of(error)}"
            )
        else:
            todo.appendleft(part)
